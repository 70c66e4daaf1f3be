"""The world changes: drift is found, Airflow trains again by itself, and better is served. On the same stack."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tests import wine_world
from tests.e2e.conftest import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def predicted(stack: Stack, wines: list[dict[str, Any]]) -> tuple[list[str], np.ndarray]:
    """Ids and qualities that the service answers."""
    answers = stack.services.predict(wines)["predictions"]
    return [one["prediction_id"] for one in answers], np.array([one["quality"] for one in answers])


def squared_error(stack: Stack, seed: int, count: int) -> float:
    """Of the served model on a new batch of the vintage, whose qualities are observed afterwards."""
    wines, quality = wine_world.vintage(seed, count)
    ids, answers = predicted(stack, wines)
    outcomes = stack.services.observe(dict(zip(ids, quality.tolist(), strict=True)))
    assert set(outcomes) == {"recorded"}
    return float(((answers - quality) ** 2).mean())


def watched(stack: Stack) -> dict[str, float]:
    """Run `monitor_wine`, and what the service's metrics say afterwards."""
    run = stack.airflow.trigger("monitor_wine")
    wait_until(lambda: stack.airflow.run_state("monitor_wine", run) == "success", "monitor_wine done", 240)
    return stack.services.metrics("ml", "cuvee_wine")


def states(stack: Stack, since: datetime) -> dict[str, str | None]:
    return {f"{t.dag_id}.{t.task_id}": t.state for t in stack.airflow.task_runs(since)}


def test_a_changed_world_is_found_learnt_and_served_better_without_anybodys_help(stack: Stack, champion: int) -> None:
    stack.airflow.wait_for_dags(["monitor_wine"])
    before, trained = champion, len(stack.airflow.runs("train_wine"))

    # Given a vintage whose quality follows another rule
    old_error = squared_error(stack, 0, 600)
    found = watched(stack)

    # Then it is found, and train_wine is started by the Asset and promotes what it trained
    assert found[f'cuvee_wine_verdict{{verdict="degraded",version="{before}"}}'] == 1
    assert found['cuvee_wine_squared_error{of="live"}'] == pytest.approx(old_error)
    assert found['cuvee_wine_drift_psi{column="alcohol"}'] > 0.2
    wait_until(lambda: len(stack.airflow.runs("train_wine")) > trained, "train_wine started by itself", 60)
    (run, *_) = stack.airflow.runs("train_wine")
    assert run["run_type"] == "asset_triggered"
    stack.trained(run["dag_run_id"])
    wait_until(lambda: stack.services.model()["version"] != before, "the new version is served", 30)

    # And the live error falls, and one retraining is enough for now
    since = datetime.now(UTC)
    new_error = squared_error(stack, 1, 600)
    found = watched(stack)
    assert new_error < 0.75 * old_error
    assert found['cuvee_wine_squared_error{of="live"}'] == pytest.approx(new_error)
    assert states(stack, since).get("monitor_wine.request_retraining") in (None, "skipped")
    assert len(stack.airflow.runs("train_wine")) == trained + 1


def test_a_rollback_is_served_without_a_restart(stack: Stack, champion: int) -> None:
    stack.command("rollback", "wine-quality", "--why", "the cellar asked for it")

    wait_until(lambda: stack.services.model()["version"] != champion, "another version is served", 30)
    assert 1 <= stack.services.model()["version"] < champion
