"""The queue of predictions: a database that is down for a while costs no row, one that stays down refuses requests."""

import asyncio
import json
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from cuvee.errors import NotReadyError
from ml_service import recording, store
from ml_service.inference import Predicted
from ml_service.recording import Recorder
from ml_service.routing import Route

DOWN = sa.exc.OperationalError("insert", {}, Exception("server closed the connection"))


class Model:
    """Answers 1, 2, 3 ..."""

    name, version = "wine-quality", 1

    def answer(self, inputs: Any) -> Predicted:
        quality = np.arange(len(inputs)) + 1.0
        return Predicted(quality, quality - 1, quality + 1)


class Broken(Model):
    def answer(self, inputs: Any) -> Predicted:
        raise ValueError("cannot")


class Picky(Model):
    """Answers how many it was asked at once, but nothing where one has no alcohol."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def answer(self, inputs: Any) -> Predicted:
        self.asked.append(len(inputs))
        if not inputs[:, 10].all():
            raise ValueError("a wine without alcohol")
        quality = np.full(len(inputs), float(len(inputs)))
        return Predicted(quality, quality - 1, quality + 1)


class Database:
    """Takes lines, or is down."""

    def __init__(self) -> None:
        self.down = False
        self.lines: list[list[str]] = []

    def write(self, _: object, lines: str) -> None:
        if self.down:
            raise DOWN
        self.lines += [line.split("\t") for line in lines.splitlines()]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    found = Database()
    monkeypatch.setattr(store, "write", found.write)
    monkeypatch.setattr(recording, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(recording, "_FULL_SECONDS", 0.2)
    monkeypatch.setattr(recording, "_WRITING_SECONDS", 0.2, raising=False)
    monkeypatch.setattr(recording, "_CLOSING_SECONDS", 0.2)
    return found


def batch(rows: int = 1, shadow: Any = None) -> recording.Answered:
    route: Any = Route(Model(), "champion", shadow)  # type: ignore[arg-type]
    inputs = np.ones((rows, 12))
    return recording.answered(7, route, inputs, Model().answer(inputs))


def started(**options: Any) -> Recorder:
    recorder = Recorder(None, **{"flush_seconds": 0.01, "most_rows": 10, **options})  # type: ignore[arg-type]
    recorder.start()
    return recorder


async def answer(recorder: Recorder, rows: int = 1, shadow: Any = None) -> list[str]:
    await recorder.reserve(rows)
    one = batch(rows, shadow)
    await recorder.add(one)
    return [str(i) for i in one.ids]


def test_a_row_has_what_was_asked_and_answered(database: Database) -> None:
    recorder = started()
    (own,) = asyncio.run(answer(recorder))
    recorder.stop()

    (line,) = database.lines
    row = dict(zip(store.COLUMNS, line, strict=True))
    assert (row["prediction_id"], row["key_id"], row["role"], row["shadow_of"]) == (own, "7", "champion", r"\N")
    assert (row["quality"], row["low"], row["high"]) == ("1.0", "0.0", "2.0")
    sample = json.loads(row["sample"])
    assert (sample["alcohol"], sample["colour"], len(sample)) == (1.0, "white", 12)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(row["predicted_at"])).total_seconds()) < 60


def test_rows_outlive_a_database_that_is_down_and_come_once(database: Database) -> None:
    database.down = True
    recorder = started()
    ids = [asyncio.run(answer(recorder))[0] for _ in range(5)]
    time.sleep(0.1)
    assert database.lines == []
    database.down = False
    recorder.stop()

    assert [line[0] for line in database.lines] == ids


def test_a_full_queue_holds_requests_back_and_then_refuses_them(database: Database) -> None:
    database.down = True
    recorder = started()
    ids = asyncio.run(answer(recorder, rows=10))

    with pytest.raises(NotReadyError, match="none are made"):
        asyncio.run(answer(recorder))

    async def later() -> list[str]:
        asyncio.get_running_loop().call_later(0.05, setattr, database, "down", False)
        return await answer(recorder)

    ids += asyncio.run(later())
    recorder.stop()
    assert [line[0] for line in database.lines] == ids


def test_without_a_flush_time_the_answer_waits_for_its_row(database: Database) -> None:
    recorder = started(flush_seconds=0.0)
    (own,) = asyncio.run(answer(recorder))
    assert [line[0] for line in database.lines] == [own]

    database.down = True
    with pytest.raises(NotReadyError):
        asyncio.run(answer(recorder))
    recorder.stop()


class Slow:
    """Begins to write, and ends once it may."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database = database
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        monkeypatch.setattr(store, "write", self.write)

    def write(self, *told: Any) -> None:
        self.begun.release()
        assert self.go_on.acquire(timeout=20)
        self._database.write(*told)


def test_an_answer_refused_while_its_rows_wait_is_not_recorded_and_leaves_its_room(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_WRITING_SECONDS", 20.0)
    slow, recorder = Slow(database, monkeypatch), started(flush_seconds=0.0)

    async def three() -> list[str]:
        first = asyncio.create_task(answer(recorder))
        assert await asyncio.to_thread(slow.begun.acquire, timeout=20)
        with pytest.raises(NotReadyError, match="does not answer in time"):
            await answer(recorder, rows=9)
        # Nothing else waits: who flushes now waits for what is being written alone.
        flushed = asyncio.create_task(recorder.flush())
        again = asyncio.create_task(answer(recorder, rows=9))
        await asyncio.sleep(0)
        for _ in range(2):
            slow.go_on.release()
        await flushed
        return await first + await again

    ids = asyncio.run(three())
    recorder.stop()
    assert [line[0] for line in database.lines] == ids


def test_an_answer_whose_rows_are_being_written_when_the_time_is_out_waits_for_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_WRITING_SECONDS", 20.0)
    slow, recorder = Slow(database, monkeypatch), started(flush_seconds=0.0)

    async def one() -> list[str]:
        asyncio.get_running_loop().call_later(0.5, slow.go_on.release)
        return await answer(recorder)

    ids = asyncio.run(one())
    recorder.stop()
    assert [line[0] for line in database.lines] == ids


def test_rows_that_are_written_too_long_are_refused_as_possibly_recorded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, recorder = Slow(database, monkeypatch), started(flush_seconds=0.0)

    with pytest.raises(NotReadyError, match="may still be recorded"):
        asyncio.run(answer(recorder))
    slow.go_on.release()
    recorder.stop()


def test_a_flush_does_not_wait_for_what_was_taken_back_and_the_writer_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, recorder = Slow(database, monkeypatch), started(flush_seconds=0.0)

    async def both() -> list[str]:
        first = asyncio.create_task(answer(recorder))
        assert await asyncio.to_thread(slow.begun.acquire, timeout=20)
        second = asyncio.create_task(answer(recorder))
        await asyncio.sleep(0.1)
        flushed = asyncio.create_task(recorder.flush())
        with pytest.raises(NotReadyError):
            await second
        slow.go_on.release()
        await flushed
        slow.go_on.release()
        return await first + await answer(recorder)

    ids = asyncio.run(both())
    recorder.stop()
    assert [line[0] for line in database.lines] == ids


def test_flushing_does_not_wait_for_the_flush_time(database: Database) -> None:
    recorder = started(flush_seconds=60.0)

    async def both() -> None:
        await answer(recorder)
        await recorder.flush()
        assert len(database.lines) == 1
        await recorder.flush()

    asyncio.run(both())
    recorder.stop()


def test_a_row_that_came_while_others_were_written_does_not_wait_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, begun, go_on = [0.0], threading.Semaphore(0), threading.Semaphore(0)
    monkeypatch.setattr(recording, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep))

    def slowly(*told: Any) -> None:
        begun.release()
        assert go_on.acquire(timeout=20)
        database.write(*told)

    monkeypatch.setattr(store, "write", slowly)
    recorder = started(flush_seconds=60.0)

    async def two() -> list[str]:
        first = await answer(recorder)
        flushed = asyncio.create_task(recorder.flush())
        assert await asyncio.to_thread(begun.acquire, timeout=20)
        second = await answer(recorder)
        now[0] = 61.0
        go_on.release()
        await flushed
        return first + second

    ids = asyncio.run(two())
    assert begun.acquire(timeout=10)
    go_on.release()
    recorder.stop()
    assert [line[0] for line in database.lines] == ids


@pytest.mark.parametrize(("requests", "most_pauses"), [(9, 0), (1_000, 100), (20_000, 101)])
def test_the_more_waits_the_less_the_writer_pauses(
    requests: int, most_pauses: int, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With one pause for every ten requests, more came in the meantime than was written, until the queue was full.
    pauses: list[float] = []
    monkeypatch.setattr(recording, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
    recorder = started(flush_seconds=60.0, most_rows=requests)

    async def many() -> list[str]:
        ids = [own for _ in range(requests) for own in await answer(recorder)]
        await recorder.flush()
        return ids

    ids = asyncio.run(many())
    paused = len(pauses)
    recorder.stop()
    assert [line[0] for line in database.lines] == ids
    assert min(1, most_pauses) <= paused <= most_pauses


def test_what_a_stop_cannot_write_is_said_in_the_log(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    database.down = True
    recorder = started()
    asyncio.run(answer(recorder, rows=3))
    recorder.stop()

    assert any("3 predictions that were answered are lost" in message for message in caplog.messages)


def test_a_row_that_cannot_be_written_at_all_is_said_and_stops_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = started(flush_seconds=0.0)
    with monkeypatch.context() as broken:
        broken.setattr(store, "write", lambda *_: 1 / 0)
        with pytest.raises(NotReadyError):
            asyncio.run(answer(recorder, rows=10))

    (own,) = asyncio.run(answer(recorder))
    recorder.stop()
    assert [line[0] for line in database.lines] == [own]
    assert any("10 predictions that were answered are lost" in message for message in caplog.messages)


def test_a_shadow_stands_beside_its_answer_and_its_failing_harms_nobody(database: Database) -> None:
    recorder = started()
    ids = asyncio.run(answer(recorder, 2, Model()))
    ids += asyncio.run(answer(recorder, 1, Broken()))
    recorder.stop()

    rows = [dict(zip(store.COLUMNS, line, strict=True)) for line in database.lines]
    assert [row["role"] for row in rows] == ["champion", "shadow", "champion", "shadow", "champion"]
    assert [row["shadow_of"] for row in rows if row["role"] == "shadow"] == ids[:2]


def test_a_shadow_is_asked_once_for_many_requests_and_each_alone_where_that_fails(database: Database) -> None:
    shadow, ids, sizes = Picky(), [], (1, 3, 2)
    recorder = started(flush_seconds=60.0)

    async def three(alcohol: float) -> None:
        for rows in sizes:
            await recorder.reserve(rows)
            one = batch(rows, shadow)
            one.inputs[0, 10] = alcohol if rows == 3 else 9.0
            await recorder.add(one)
            ids.extend(map(str, one.ids))
        await recorder.flush()

    asyncio.run(three(9.0))
    asyncio.run(three(0.0))
    recorder.stop()

    assert shadow.asked == [6, 6, 1, 3, 2]
    rows = [dict(zip(store.COLUMNS, line, strict=True)) for line in database.lines]
    shadows = {row["shadow_of"]: float(row["quality"]) for row in rows if row["role"] == "shadow"}
    assert shadows == {**dict.fromkeys(ids[:6], 6.0), ids[6]: 1.0, **dict.fromkeys(ids[10:], 2.0)}
