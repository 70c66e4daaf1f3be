"""How every task of ours is retried."""

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryRule
from airflow.sdk.definitions.retry_policy import RetryAction

RETRIES: dict[str, Any] = {
    "retries": 4,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception=["cuvee.errors.InvalidInputError", "cuvee.errors.ConfigurationError"],
                action=RetryAction.FAIL,
                reason="The same input or setting would fail again; mend it and clear the task.",
            )
        ]
    ),
}
"""Default arguments of every DAG: back-off from 5 seconds, but no retry of what a retry cannot mend."""
