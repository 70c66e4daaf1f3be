"""Rows of predictions on their way to the record: a bounded queue, and a thread that writes many in one transaction.

A prediction is answered once it is in the queue. What a killed process loses is what was answered within the last
`flush_seconds` and while rows were being written or, while the database is down, since then, and never more than
`most_rows`; with `flush_seconds` 0 answers wait for their rows, and what is refused instead is not written, unless it
was being written already when the time was out.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import numpy as np
import psycopg2
import sqlalchemy as sa
from pydantic_core import to_json

from cuvee.errors import NotReadyError
from ml_service import store
from ml_service.dataset import Floats
from ml_service.inference import Predicted, ServedModel
from ml_service.routing import Route
from ml_service.wine import COLOURS, FEATURE_NAMES

log = logging.getLogger(__name__)

_FULL_SECONDS = 2.0
"""How long a request waits for room in the queue before it is refused."""
_WRITING_SECONDS = 10.0
"""How long a request goes on waiting for rows that are being written when `_FULL_SECONDS` are over."""
_CLOSING_SECONDS = 20.0
"""How long a service that is stopped goes on trying to write what it has answered."""
_RETRY_SECONDS = 0.5
_BATCHES_AT_ONCE = 10
"""After so many requests the writer lets the event loop go on alone, for `_PAUSE_SECONDS`: the two share one
interpreter, and without a pause the answers of those milliseconds take twice as long (99th percentile at 32
connections: 30 ms without, 24 ms with it)."""
_MOST_PAUSES = 100
"""For what is taken from the queue at once. With more of them, a fast machine answers more in the meantime than is
written: 6,200 requests a second against 5,200, until the queue is full and answers wait for seconds."""
_PAUSE_SECONDS = 0.001


@dataclass(frozen=True, eq=False)
class Answered:
    """The predictions of one request, not yet written."""

    key_id: int
    route: Route
    inputs: Floats
    found: Predicted
    ids: list[UUID]
    at: datetime


def answered(key_id: int, route: Route, inputs: Floats, found: Predicted) -> Answered:
    return Answered(key_id, route, inputs, found, [uuid4() for _ in inputs], datetime.now(UTC))


class Recorder(threading.Thread):
    """Writes what is answered; `reserve` room first, then `add` or `release`."""

    def __init__(self, engine: sa.Engine, flush_seconds: float, most_rows: int) -> None:
        super().__init__(name="prediction-recorder", daemon=True)
        self._engine = engine
        self._flush_seconds = flush_seconds
        self._most_rows = most_rows
        self._rows = 0
        self._queue: list[Answered] = []
        self._first_at = 0.0
        self._changed = threading.Condition()
        self._hurry = False
        self._stop_at: float | None = None
        self._next: Future[None] = Future()
        self._writing: Future[None] | None = None

    async def reserve(self, rows: int) -> None:
        """Wait for room.

        Raises:
            NotReadyError: the queue stays full, since the database does not take what is in it.
        """
        deadline = time.monotonic() + _FULL_SECONDS
        while not self._reserved(rows):
            if time.monotonic() > deadline:
                raise NotReadyError(
                    "Predictions cannot be recorded at the moment, so none are made: the database does not answer, or "
                    "not fast enough. Try again shortly."
                )
            await asyncio.sleep(0.02)

    def _reserved(self, rows: int) -> bool:
        with self._changed:
            if self._rows and self._rows + rows > self._most_rows:
                return False
            self._rows += rows
            return True

    def release(self, rows: int) -> None:
        with self._changed:
            self._rows -= rows

    async def add(self, batch: Answered) -> None:
        """Put in the queue what room was reserved for; with `flush_seconds` 0 wait until its rows are durable.

        Raises:
            NotReadyError: they are not in time. They are never written then, unless they were being written already:
                those may still be recorded, and the message says so.
        """
        with self._changed:
            self._queue.append(batch)
            mine = self._next
            # Only the first wakes the writer: it then waits for more by itself.
            if len(self._queue) == 1:
                self._first_at = time.monotonic()
                self._changed.notify()
        if self._flush_seconds == 0 and not await _ended(mine, _FULL_SECONDS):
            if self._taken_back(batch):
                raise NotReadyError("The database does not answer in time. Try again shortly.")
            if not await _ended(mine, _WRITING_SECONDS):
                raise NotReadyError(
                    "The database does not answer in time. The prediction may still be recorded; try again shortly."
                )

    def _taken_back(self, batch: Answered) -> bool:
        """Whether it was still in the queue; it no longer is, and its room is free."""
        with self._changed:
            if batch not in self._queue:
                return False
            self._queue.remove(batch)
            self._rows -= len(batch.ids)
            return True

    async def flush(self) -> None:
        """Wait until all that was added before is written, for a while; raises NotReadyError if it is not."""
        with self._changed:
            waited_for = self._next if self._queue else self._writing
            self._hurry |= bool(self._queue)
            self._changed.notify()
        if waited_for is not None and not await _ended(waited_for, _FULL_SECONDS):
            raise NotReadyError("The database does not answer in time. Try again shortly.")

    def stop(self) -> None:
        """Write what is there, then end; what cannot be written in time is lost and said so in the log."""
        with self._changed:
            self._stop_at = time.monotonic() + _CLOSING_SECONDS
            self._changed.notify()
        self.join()

    def run(self) -> None:
        while taken := self._take():
            rows = sum(len(batch.ids) for batch in taken)
            lost: Exception | None = None
            try:
                self._write("".join(self._formatted(taken)), rows)
            except Exception as error:
                # Whatever it is: the rows of others must still be written.
                lost = error
                log.critical("%d predictions that were answered are lost: %s", rows, error, exc_info=error)
            with self._changed:
                self._rows -= rows
                done, self._writing = self._writing, None
            assert done is not None
            if lost is None:
                done.set_result(None)
            else:
                done.set_exception(lost)

    def _take(self) -> list[Answered]:
        """All that waits, once the first of it has waited long enough; nothing: it is time to end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue or self._hurry or self._stop_at is not None)
                # Not from now on: it may have come while others were written.
                left = max(0.0, self._first_at + self._flush_seconds - time.monotonic())
                self._changed.wait_for(lambda: self._hurry or self._stop_at is not None, timeout=left)
                self._hurry = False
                taken, self._queue = self._queue, []
                done, self._next = self._next, Future()
                if taken or self._stop_at is not None:
                    self._writing = done
                    return taken
                # All was taken back meanwhile, so whoever flushes waits for nothing more.
                done.set_result(None)

    def _formatted(self, taken: Sequence[Answered]) -> Iterator[str]:
        at_once = max(_BATCHES_AT_ONCE, len(taken) // _MOST_PAUSES)
        for start in range(0, len(taken), at_once):
            some = taken[start : start + at_once]
            for batch, shadow in zip(some, _shadowed(some), strict=True):
                yield _lines(batch, shadow)
            if start + at_once <= len(taken) and self._stop_at is None:
                time.sleep(_PAUSE_SECONDS)

    def _write(self, lines: str, rows: int) -> None:
        told = False
        while True:
            try:
                store.write(self._engine, lines)
                return
            except (sa.exc.SQLAlchemyError, psycopg2.Error) as error:
                if not told:
                    log.error("%d predictions wait for the database: %s", rows, str(error).strip())
                told = True
                if self._stop_at is not None and time.monotonic() > self._stop_at:
                    raise
                time.sleep(_RETRY_SECONDS)


async def _ended(written: Future[None], seconds: float) -> bool:
    """Whether it was within this time; raises NotReadyError where it failed."""
    try:
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(written)), seconds)
    except TimeoutError:
        return False
    except Exception as error:
        raise NotReadyError("The prediction could not be recorded; the service's log says why.") from error
    return True


def _lines(batch: Answered, shadow: Predicted | None) -> str:
    """Rows for COPY, each followed by its shadow's."""
    found = batch.found
    lines = []
    for number, (prediction_id, inputs) in enumerate(zip(batch.ids, batch.inputs.tolist(), strict=True)):
        sample = to_json(dict(zip(FEATURE_NAMES, inputs, strict=False)) | {"colour": COLOURS[int(inputs[-1])]}).decode()
        lines.append(_line(batch, batch.route, sample, found, number, prediction_id, None))
        if shadow is not None:
            lines.append(_line(batch, batch.route, sample, shadow, number, uuid4(), prediction_id))
    return "".join(lines)


def _line(
    batch: Answered, route: Route, sample: str, found: Predicted, number: int, own: UUID, shadow_of: UUID | None
) -> str:
    model = route.model if shadow_of is None else route.shadow
    assert model is not None
    role = route.role if shadow_of is None else "shadow"
    values = (
        own,
        batch.at.isoformat(),
        batch.key_id,
        model.name,
        model.version,
        sample,
        float(found.quality[number]),
        float(found.low[number]),
        float(found.high[number]),
        role,
        shadow_of or r"\N",
    )
    return "\t".join(map(str, values)) + "\n"


def _shadowed(batches: Sequence[Answered]) -> list[Predicted | None]:
    """What the challenger would have answered to each, asked for all at once; its failing harms nobody."""
    found: list[Predicted | None] = [None] * len(batches)
    asked: dict[ServedModel, list[int]] = {}
    for place, batch in enumerate(batches):
        if batch.route.shadow is not None:
            asked.setdefault(batch.route.shadow, []).append(place)
    answers: Sequence[Predicted | None]
    for model, places in asked.items():
        try:
            inputs = [batches[place].inputs for place in places]
            answers = list(model.answer(np.concatenate(inputs)).parts(map(len, inputs)))
        except Exception:  # noqa: BLE001, what one request holds may be what the challenger cannot answer
            answers = [_answer_alone(model, batches[place].inputs) for place in places]
        for place, answer in zip(places, answers, strict=True):
            if answer is not None and np.isfinite(answer.quality).all():
                found[place] = answer
    return found


def _answer_alone(model: ServedModel, inputs: Floats) -> Predicted | None:
    try:
        return model.answer(inputs)
    except Exception:
        log.exception("the challenger in shadow could not answer; its rows are missing")
        return None
