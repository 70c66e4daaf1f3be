"""Approval, rejection and rollback against a real MLflow and a real PostgreSQL."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from typer.testing import CliRunner

from cuvee import champions, promotion
from cuvee.cli import app
from cuvee.database import promotions
from cuvee.errors import NotFoundError
from cuvee.promotion import Policy
from cuvee.registry import RegisteredVersion, Registry
from cuvee.settings import Settings

pytestmark = pytest.mark.integration

NAME = "some-model"


@pytest.fixture
def registry(mlflow_url: str) -> Registry:
    client = MlflowClient(mlflow_url, mlflow_url)
    if any(model.name == NAME for model in client.search_registered_models()):
        client.delete_registered_model(NAME)
    client.create_registered_model(NAME)
    return Registry(mlflow_url)


@pytest.fixture
def register(registry: Registry, mlflow_url: str) -> Callable[[], RegisteredVersion]:
    """Registers one more version, of a run of its own."""
    client = MlflowClient(mlflow_url, mlflow_url)

    def made() -> RegisteredVersion:
        run = client.create_run("0")
        found = client.create_model_version(NAME, f"{run.info.artifact_uri}/model", run.info.run_id)
        return registry.version(NAME, int(found.version))

    return made


def decide(
    engine: sa.Engine, registry: Registry, version: RegisteredVersion, gain: float = 1.0, approval: str = "automatic"
) -> champions.Entry:
    """Decide on a version that is better by `gain` in every case, and carry that out."""
    policy = Policy(resamples=100, approval=approval)  # type: ignore[arg-type]
    decision = promotion.decide(np.full(40, gain), np.zeros(40), policy, "it")
    champion = registry.champion(NAME)
    with engine.begin() as connection:
        promotion.record(connection, NAME, version.identity, champion.identity if champion else None, decision, policy)
    return champions.carry_out(engine, registry, version)


def champion(registry: Registry) -> int | None:
    found = registry.champion(NAME)
    return found.version if found else None


def test_what_waits_for_approval_is_served_only_after_a_yes(
    engine: sa.Engine, registry: Registry, register: Callable[[], RegisteredVersion]
) -> None:
    version = register()

    waiting = decide(engine, registry, version, approval="human")
    assert (waiting.waiting, waiting.promoted, champion(registry)) == (True, False, None)
    assert registry.version(NAME, 1).tags["cuvee.decision"] == "waiting for approval"
    with engine.begin() as connection:
        champions.settle(connection, NAME, version.identity, True, "Ada", "the samples look right")
    approved = champions.carry_out(engine, registry, version)

    assert (approved.promoted, champion(registry)) == (True, 1)
    assert approved.outcome == "approved by Ada: the samples look right"
    tags = registry.version(NAME, 1).tags
    assert tags["cuvee.decision"] == "promoted"
    assert "Approved by Ada: the samples look right" in tags["cuvee.reason"]


def test_a_rejection_is_recorded_with_who_and_why_and_a_later_yes_changes_nothing(
    engine: sa.Engine, registry: Registry, register: Callable[[], RegisteredVersion]
) -> None:
    decide(engine, registry, register())
    version = register()
    decide(engine, registry, version, approval="human")

    with engine.begin() as connection:
        champions.settle(connection, NAME, version.identity, False, "Ada", "not before the harvest")
        champions.settle(connection, NAME, version.identity, True, "Eve", "now")
    rejected = champions.carry_out(engine, registry, version)

    assert (rejected.promoted, rejected.waiting, champion(registry)) == (False, False, 1)
    assert rejected.outcome == "rejected by Ada: not before the harvest"
    assert registry.version(NAME, 2).tags["cuvee.decision"] == "not promoted"
    # What was rejected never took effect, so it takes the place of nothing.
    with engine.connect() as connection:
        assert not promotion.superseded(connection, NAME, registry.version(NAME, 1).identity)


def test_rolling_back_serves_what_was_served_before_and_again_goes_back_one_further(
    engine: sa.Engine, registry: Registry, register: Callable[[], RegisteredVersion]
) -> None:
    versions = [register() for _ in range(4)]
    for version, gain in zip(versions, (1.0, 1.0, -1.0, 1.0), strict=True):
        decide(engine, registry, version, gain)
    assert champion(registry) == 4

    served = []
    for _ in range(2):
        assert champions.roll_back(engine, registry, NAME, "Ada", "too sour").version == champion(registry)
        served.append(champion(registry))

    assert served == [2, 1]
    with pytest.raises(NotFoundError, match="Nothing was promoted before version 1"):
        champions.roll_back(engine, registry, NAME, "Ada", None)
    assert champion(registry) == 1
    with engine.connect() as connection:
        newest = champions.history(connection, NAME)[0]
    assert (newest.challenger, newest.champion) == (versions[0].identity, versions[1].identity)
    assert newest.outcome == "gone back to by Ada: too sour"
    assert registry.version(NAME, 4).tags["cuvee.decision"] == "rolled back"


def test_an_approval_that_comes_after_a_rollback_changes_nothing_and_says_so(
    engine: sa.Engine, registry: Registry, register: Callable[[], RegisteredVersion]
) -> None:
    first, second, third = (register() for _ in range(3))
    decide(engine, registry, first)
    decide(engine, registry, second)
    decide(engine, registry, third, approval="human")
    champions.roll_back(engine, registry, NAME, "Ada", None)

    with engine.begin() as connection:
        champions.settle(connection, NAME, third.identity, True, "Ada", "tasted it")
    approved = champions.carry_out(engine, registry, third)
    again = champions.carry_out(engine, registry, third)

    assert (approved.promoted, approved.waiting, champion(registry)) == (False, False, 1)
    assert again == approved
    tags = registry.version(NAME, 3).tags
    assert tags["cuvee.decision"] == "superseded"
    assert "Superseded, though approved by Ada: tasted it." in tags["cuvee.reason"]
    with engine.connect() as connection:
        told = [entry.outcome for entry in champions.history(connection, NAME)]
    assert told == [
        "gone back to by Ada",
        "superseded, though approved by Ada: tasted it",
        "promoted",
        "promoted",
    ]


def test_a_repeated_promotion_does_not_undo_a_rollback_and_leaves_what_was_said_of_it(
    engine: sa.Engine, registry: Registry, register: Callable[[], RegisteredVersion]
) -> None:
    first, second = register(), register()
    decide(engine, registry, first)
    decide(engine, registry, second)
    champions.roll_back(engine, registry, NAME, "Ada", None)
    tags = registry.version(NAME, 2).tags

    champions.carry_out(engine, registry, registry.version(NAME, 2))

    assert champion(registry) == 1
    assert tags["cuvee.decision"] == "rolled back"
    assert registry.version(NAME, 2).tags == tags


@pytest.mark.parametrize("served", [True, False])
def test_a_promotion_killed_halfway_and_tried_again_after_another_is_superseded_unless_it_was_rolled_back(
    served: bool, engine: sa.Engine, registry: Registry, register: Callable[[], RegisteredVersion]
) -> None:
    first, second, third = (register() for _ in range(3))
    decide(engine, registry, first)
    decide(engine, registry, second)
    # As if the try had been killed after, or before, the alias moved.
    killed = sa.update(promotions).where(promotions.c.challenger == second.identity).values(carried_out_at=None)
    with engine.begin() as connection:
        connection.execute(killed)
    if served:
        champions.roll_back(engine, registry, NAME, "Ada", None)
    else:
        registry.promote(first)
        decide(engine, registry, third)

    again = champions.carry_out(engine, registry, registry.version(NAME, 2))

    assert (again.promoted, again.outcome, champion(registry)) == (False, "superseded", 1 if served else 3)
    said = registry.version(NAME, 2).tags["cuvee.decision"]
    assert said == ("rolled back" if served else "superseded")


KILLED = """
import os, signal, sys
from cuvee import champions
from cuvee.database import connect
from cuvee.registry import Registry
from cuvee.settings import Settings

original = Registry.promote

def killing(self, version):
    if sys.argv[1] == "after":
        original(self, version)
    os.kill(os.getpid(), signal.SIGKILL)

Registry.promote = killing
settings = Settings.load()
registry = Registry(settings.resolved_mlflow_uri)
champions.roll_back(connect(settings.resolved_database_url), registry, "some-model", "Ada", None)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_rollback_killed_halfway_is_finished_by_the_next_which_goes_no_further(
    when: str,
    engine: sa.Engine,
    settings: Settings,
    registry: Registry,
    register: Callable[[], RegisteredVersion],
    mlflow_url: str,
) -> None:
    for version in [register() for _ in range(3)]:
        decide(engine, registry, version)
    environment = {**os.environ, "CUVEE_MLFLOW_URI": mlflow_url}
    killed = subprocess.run([sys.executable, "-c", KILLED, when], env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert champion(registry) == (3 if when == "before" else 2)

    champions.roll_back(engine, registry, NAME, "Ada", None)

    assert champion(registry) == 2
    with engine.connect() as connection:
        rollbacks = connection.execute(sa.select(sa.func.count()).where(promotions.c.kind == "rollback")).scalar_one()
    assert rollbacks == 1


def test_the_commands_show_what_was_decided_and_go_back(
    engine: sa.Engine,
    settings: Settings,
    registry: Registry,
    register: Callable[[], RegisteredVersion],
    mlflow_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUVEE_MLFLOW_URI", mlflow_url)
    monkeypatch.setenv("COLUMNS", "80")
    decide(engine, registry, register())
    decide(engine, registry, register())
    runner = CliRunner()

    went_back = runner.invoke(app, ["rollback", NAME, "--why", "too sour"])
    shown = runner.invoke(app, ["promotions", "list", NAME]).stdout
    too_far = runner.invoke(app, ["rollback", NAME])

    assert went_back.exit_code == 0
    assert "Version 1 of some-model is champion again" in went_back.stdout
    assert champion(registry) == 1
    told = [line[21:] for line in shown.splitlines() if not line.startswith(" ")]
    assert told[0].startswith("some-model 1 against 2: gone back to by ")
    assert told[1:] == ["some-model 2 against 1: promoted", "some-model 1 against baseline: promoted"]
    assert "too sour" in " ".join(shown.split())
    assert (too_far.exit_code, champion(registry)) == (1, 1)
