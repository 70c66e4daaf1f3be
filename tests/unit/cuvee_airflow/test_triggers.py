"""The inbox trigger fires once per new set of files, and does not fire for ever."""

import asyncio
import contextlib
import itertools
import os
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cuvee_airflow import reminding
from cuvee_airflow.triggers import InboxTrigger, RequestTrigger
from rag_service.documents import ledger


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUVEE_HOME", str(tmp_path))
    monkeypatch.setenv("CUVEE_SETTLE_SECONDS", "0")
    folder = tmp_path / "data" / "inbox" / "topic" / "segment"
    folder.mkdir(parents=True)
    return folder


async def fired_within(events: Any, seconds: float) -> Any:
    """The next event's payload, or None when none comes in time (the wait itself goes on)."""
    task = asyncio.ensure_future(anext(events))
    done, _ = await asyncio.wait([task], timeout=seconds)
    if done:
        return task.result().payload
    task.cancel()
    return None


def test_a_file_fires_one_event_and_no_second_until_something_changes(inbox: Path) -> None:
    async def story() -> list[Any]:
        events = InboxTrigger(poll_seconds=0.02).run()
        (inbox / "one.txt").write_text("one")
        first = await fired_within(events, 5)
        silent = await fired_within(events, 0.3)
        return [first, silent]

    assert asyncio.run(story()) == [{"files": 1}, None]


def test_another_file_fires_again(inbox: Path) -> None:
    async def story() -> list[Any]:
        events = InboxTrigger(poll_seconds=0.02).run()
        (inbox / "one.txt").write_text("one")
        first = await fired_within(events, 5)
        (inbox / "two.txt").write_text("two")
        return [first, await fired_within(events, 5)]

    assert asyncio.run(story()) == [{"files": 1}, {"files": 2}]


def test_the_same_file_dropped_again_after_it_was_taken_fires_again(inbox: Path) -> None:
    async def story() -> list[Any]:
        events = InboxTrigger(poll_seconds=0.02).run()
        (inbox / "one.txt").write_text("one")
        os.utime(inbox / "one.txt", (1, 1))
        first = await fired_within(events, 5)
        waiting = asyncio.ensure_future(anext(events))
        (inbox / "one.txt").unlink()
        await asyncio.sleep(0.2)
        (inbox / "one.txt").write_text("one")
        os.utime(inbox / "one.txt", (1, 1))
        second = await asyncio.wait_for(waiting, 5)
        return [first, second.payload]

    assert asyncio.run(story()) == [{"files": 1}, {"files": 1}]


def test_files_that_nobody_takes_are_reminded_of_ever_more_rarely(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reminding, "_FIRST_SECONDS", 0.2)
    loop_times: list[float] = []

    async def story() -> None:
        events = InboxTrigger(poll_seconds=0.01).run()
        (inbox / "one.txt").write_text("one")
        for _ in range(4):
            await asyncio.wait_for(anext(events), 5)
            loop_times.append(asyncio.get_running_loop().time())

    asyncio.run(story())
    gaps = [later - earlier for earlier, later in itertools.pairwise(loop_times)]
    assert gaps[0] >= 0.2 and gaps[1] >= 0.4 and gaps[2] >= 0.8


def test_the_trigger_travels_to_the_triggerer_by_its_installed_name() -> None:
    assert InboxTrigger(3.0).serialize() == ("cuvee_airflow.triggers.InboxTrigger", {"poll_seconds": 3.0})
    assert RequestTrigger(3.0).serialize() == ("cuvee_airflow.triggers.RequestTrigger", {"poll_seconds": 3.0})


def test_deletions_fire_one_event_each_and_a_database_that_is_down_none(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = [(0, ""), sa.exc.OperationalError("select", {}, Exception("down")), (1, "1 noon"), (1, "1 noon")]
    asked: list[int] = []

    def requested(connection: Any) -> tuple[int, str]:
        asked.append(1)
        answer = said[min(len(asked), len(said)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ledger, "requested", requested)
    monkeypatch.setattr(sa.Engine, "connect", lambda engine: contextlib.nullcontext())

    async def story() -> list[Any]:
        events = RequestTrigger(poll_seconds=0.02).run()
        first = await fired_within(events, 5)
        said.append((2, "2 one o'clock"))
        return [first, await fired_within(events, 5), await fired_within(events, 0.3)]

    assert asyncio.run(story()) == [{"documents": 1}, {"documents": 2}, None]
