"""What MLflow answers becomes an error of ours that says what to do."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import RestException

from cuvee.errors import NotFoundError
from cuvee.registry import RegisteredVersion, Registry

VERSION = RegisteredVersion("wine-quality", 4, "run-4", "", {}, datetime(2026, 11, 24, tzinfo=UTC))


@pytest.mark.parametrize(
    "ask",
    [lambda registry: registry.run(VERSION), lambda registry: registry.run_file(VERSION, "a/b.json", Path())],
    ids=["run", "file of a run"],
)
def test_a_run_that_was_deleted_is_not_found_and_named(
    ask: Callable[[Registry], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run 'run-4' not found"})

    monkeypatch.setattr(MlflowClient, "get_run", gone)
    monkeypatch.setattr(MlflowClient, "list_artifacts", gone)

    with pytest.raises(NotFoundError, match="no longer has run run-4, which made wine-quality version 4"):
        ask(Registry("http://127.0.0.1:9"))
