"""Many requests that each want one embedding at the same time, embedded in one call."""

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rag_service.index.search import Encoder


class _Call:
    """One caller's texts, and what became of them."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.vectors: NDArray[np.float32] | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.vectors is not None or self.error is not None


class MicroBatcher:
    """An encoder for many threads: what is asked for while a call runs is embedded together in the next one.

    A caller that is alone is served at once, in its own thread; nobody waits for a clock, only for the call that is
    running and for those before it. An error is raised in the thread whose texts brought it about.
    """

    def __init__(self, encoder: Encoder, most_texts: int = 64) -> None:
        self._encoder = encoder
        self._most_texts = most_texts
        self._waiting: deque[_Call] = deque()
        self._running = False
        self._changed = threading.Condition()

    @property
    def id(self) -> str:
        return self._encoder.id

    @property
    def version(self) -> str:
        return self._encoder.version

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (texts, dimension)."""
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        call = _Call(list(texts))
        with self._changed:
            self._waiting.append(call)
        while (batch := self._lead(call)) is not None:
            try:
                self._run(batch)
            finally:
                with self._changed:
                    for left in batch:  # this thread is being ended; the others must not wait for ever
                        if not left.done:
                            left.error = RuntimeError("The thread that embedded for this one was ended.")
                    self._running = False
                    self._changed.notify_all()
        if call.error is not None:
            raise call.error
        assert call.vectors is not None
        return call.vectors

    def _lead(self, call: _Call) -> list[_Call] | None:
        """Wait until `call` is done (None) or until this thread is to run the next batch (that batch)."""
        with self._changed:
            while self._running and not call.done:
                self._changed.wait()
            if call.done:
                return None
            self._running = True
            batch = [self._waiting.popleft()]
            texts = len(batch[0].texts)
            while self._waiting and texts + len(self._waiting[0].texts) <= self._most_texts:
                batch.append(self._waiting.popleft())
                texts += len(batch[-1].texts)
            return batch

    def _run(self, batch: list[_Call]) -> None:
        try:
            vectors = self._encoder.encode([text for call in batch for text in call.texts])
        except Exception as error:  # noqa: BLE001  # raised again in the thread of its caller
            if len(batch) == 1:
                batch[0].error = error
                return
            for call in batch:  # one of them is to blame; the others get their vectors
                self._run([call])
            return
        first = 0
        for call in batch:
            call.vectors = vectors[first : first + len(call.texts)].copy()
            first += len(call.texts)
