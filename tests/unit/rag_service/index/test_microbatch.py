"""Embedding what several threads ask for in few calls; each gets its own vectors, or its own error."""

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from rag_service.index.microbatch import MicroBatcher


class SlowEncoder:
    """Text "7" becomes the vector (7, 7); a text that is no number is an error."""

    id, version, dimension = "slow", "slow@1", 2

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.gate = threading.Event()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(list(texts))
        self.gate.wait(5)
        return np.array([[float(text)] * 2 for text in texts], dtype=np.float32)


def _ask(batcher: MicroBatcher, asked: list[list[str]]) -> tuple[list[threading.Thread], dict[int, object]]:
    results: dict[int, object] = {}

    def ask(n: int) -> None:
        try:
            results[n] = batcher.encode(asked[n])
        except ValueError as error:
            results[n] = error

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(asked))]
    for thread in threads:
        thread.start()
        time.sleep(0.01)  # so that they queue in this order
    return threads, results


def test_what_is_asked_for_during_a_call_is_embedded_in_the_next_one() -> None:
    encoder = SlowEncoder()
    threads, results = _ask(MicroBatcher(encoder), [["0"], ["1"], ["2", "3"], ["4"]])
    encoder.gate.set()
    for thread in threads:
        thread.join(5)

    assert encoder.calls == [["0"], ["1", "2", "3", "4"]]
    assert {n: vectors[:, 0].tolist() for n, vectors in results.items()} == {0: [0], 1: [1], 2: [2, 3], 3: [4]}


def test_a_batch_is_bounded_but_a_larger_request_goes_alone() -> None:
    encoder = SlowEncoder()
    threads, results = _ask(MicroBatcher(encoder, most_texts=2), [["0"], ["1"], ["2"], ["3", "4", "5"], ["6"]])
    encoder.gate.set()
    for thread in threads:
        thread.join(5)

    assert encoder.calls == [["0"], ["1", "2"], ["3", "4", "5"], ["6"]]
    assert len(results) == 5


def test_an_error_reaches_the_thread_that_caused_it_and_no_other() -> None:
    encoder = SlowEncoder()
    threads, results = _ask(MicroBatcher(encoder), [["0"], ["1"], ["not a number"], ["3"]])
    encoder.gate.set()
    for thread in threads:
        thread.join(5)

    assert [type(results[n]).__name__ for n in range(4)] == ["ndarray", "ndarray", "ValueError", "ndarray"]
    assert results[3].tolist() == [[3, 3]]


def test_the_batcher_works_on_after_an_error() -> None:
    encoder = SlowEncoder()
    encoder.gate.set()
    batcher = MicroBatcher(encoder)
    with pytest.raises(ValueError, match="not a number"):
        batcher.encode(["not a number"])

    assert batcher.encode(["5"]).tolist() == [[5, 5]]
    assert (batcher.id, batcher.version, batcher.encode([]).shape) == ("slow", "slow@1", (0, 2))


def test_a_hundred_threads_all_get_their_own_vector() -> None:
    encoder = SlowEncoder()
    encoder.gate.set()
    threads, results = _ask(MicroBatcher(encoder, most_texts=8), [[str(n)] for n in range(100)])
    for thread in threads:
        thread.join(5)

    assert [results[n].tolist() for n in range(100)] == [[[n, n]] for n in range(100)]
