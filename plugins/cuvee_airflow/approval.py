"""Asking a person, where a no is an answer to be recorded like a yes."""

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator


class RecordedApproval(ApprovalOperator):
    """Airflow's form with *Approve* and *Reject*; either way the next task runs and finds the answer as an XCom.

    Airflow's own operator skips what follows a no, and loses who said it and why: the XCom is not written then.
    """

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        return HITLOperator.execute_complete(self, context, event)
