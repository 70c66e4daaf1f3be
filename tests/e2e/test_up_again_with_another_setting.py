"""The stack after its supervisor was killed, with another setting. Comes last, on what the tests before have made."""

import json
import time
from datetime import UTC, datetime

import psutil
import pytest

from tests.e2e.conftest import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def refused(stack: Stack, run: str) -> bool:
    """Say no as often as asked.

    To an answer that comes before the scheduler has noticed that the task's process has ended, Airflow 3.3 asks again:
    it takes the task, which goes on already, for one that was killed. Hence the wait; people take longer anyhow.
    """
    form = stack.airflow.question("train_wine", run, "ask_approval")
    if form and not form["response_received"]:
        time.sleep(8)
        stack.airflow.answer("train_wine", run, "ask_approval", "Reject", {"why": "not before the harvest"})
    return stack.airflow.run_state("train_wine", run) == "success"


def test_a_killed_supervisor_is_cleaned_up_after_by_the_next_up_which_reads_the_settings_anew(
    stack: Stack, champion: int
) -> None:
    before = set(stack.documents(state="indexed"))
    psutil.Process(int((stack.settings.run_dir / "supervisord.pid").read_text())).kill()
    time.sleep(1)
    told = stack.command("status", "--json", check=False)
    assert told.returncode == 1
    assert not json.loads(told.stdout)["healthy"]

    stack.environment |= {"CUVEE_WINE_APPROVAL": "human"}
    stack.up()

    # DAG runs go on at once, and a check that takes 3 s on a busy machine counts as not healthy.
    wait_until(stack.healthy, "everything is healthy", 60)
    wait_until(lambda: stack.services.serves("ml"), "a model is served", 60)
    assert set(stack.documents(state="indexed")) == before
    assert stack.services.model()["version"] == champion
    assert not before or wait_until(lambda: stack.services.serves("rag"), "an index generation is served", 60)


def test_a_person_may_refuse_what_is_proven_better(stack: Stack, champion: int) -> None:
    since = datetime.now(UTC)
    run = stack.airflow.trigger("train_wine", {"estimator": "extra_trees", "n_estimators": 20})

    form = wait_until(lambda: stack.airflow.question("train_wine", run, "ask_approval"), "somebody is asked", 400)
    wait_until(lambda: refused(stack, run), "the answer is settled", 240)

    assert "Mean gain over version" in form["body"] and "| recent |" in form["body"]
    settled = {one.task_id: one.state for one in stack.airflow.task_runs(since) if one.dag_id == "train_wine"}
    assert settled["settle_promotion"] == "success"
    assert stack.services.model()["version"] == champion
    listed = stack.command("promotions", "list", "wine-quality").stdout
    assert "rejected by admin: not before the harvest" in " ".join(listed.split())
