"""Which of the candidates are read and kept: near-duplicates once, and others in their place."""

import numpy as np
import pytest

from rag_service.index.calibration import Calibration
from rag_service.index.generation import Chunk, Scored, Selection
from rag_service.index.hybrid import Hit, search, understood
from rag_service.index.recency import ALWAYS_FRESH, Recency
from rag_service.index.rows import Outline

CHINESE = [
    "葡萄酒发酵过程中的温度控制非常重要因此必须每天测量",
    "酿酒厂的博物馆每年三月的第一个星期日上午十点开放",
    "橡木桶每四周需要用硫磺片熏蒸一次以防止细菌生长繁殖",
]
LEASE = "The notice period of this lease is three months, and it is given in writing to the owner of the vineyard."


class Texts:
    """A generation of one chunk with one statement a text; the earlier, the nearer. Remembers which rows were read."""

    def __init__(self, texts: list[str], best_statement: str = "") -> None:
        self._texts = texts
        self._best_statement = best_statement
        self._cosines = np.array([0.6 - n / 1000 for n in range(len(texts))], dtype=np.float32)
        self.read: list[list[int]] = []

    def select(self, where):
        return Selection(np.ones(len(self._texts), dtype=np.bool_), len(self._texts))

    def dense(self, vector, count, selection):
        return Scored(np.arange(len(self._texts))[:count], self._cosines[:count])

    def lexical(self, query, count, selection):
        return Scored(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

    def lexical_of(self, query, rows):
        return np.zeros(len(rows), dtype=np.float32)

    def rarity(self, stems):
        return dict.fromkeys(stems, 1.0)

    def vectors(self, rows):
        raise AssertionError("every row was found by its vector")

    def statement_vectors(self, rows):
        self.read.append(rows.tolist())
        best = [self._texts[row] == self._best_statement for row in rows]
        return np.where(best, 1.0, self._cosines[rows])[:, None], np.arange(len(rows) + 1)

    def outline(self, row):
        return Outline(f"c{row:02d}", "T", [self._texts[row]])

    def chunk(self, row):
        return Chunk(f"c{row:02d}", "d", "t", "s", "T", "u", row, None, 0, 1, self._texts[row])


def found(generation: Texts, top_k: int, recency: Recency = ALWAYS_FRESH) -> list[Hit]:
    query = understood(generation, "?", np.ones(1, dtype=np.float32), Calibration())
    return search(generation, query, top_k, recency=recency)


def texts_of(generation: Texts, top_k: int) -> list[str]:
    return [hit.chunk.text for hit in found(generation, top_k)]


def test_texts_without_words_are_the_same_only_where_their_characters_are() -> None:
    assert texts_of(Texts([*CHINESE, CHINESE[1]]), 8) == CHINESE


def test_a_text_without_words_is_not_like_one_with_words() -> None:
    assert texts_of(Texts([CHINESE[0], LEASE, "of the"]), 8) == [CHINESE[0], LEASE, "of the"]


def test_passages_beyond_many_copies_of_one_are_found() -> None:
    others = ["Rent is paid in November.", "The gate is shut at ten."]

    assert texts_of(Texts([LEASE] * 50 + others), 8) == [LEASE, *others]


def test_hits_are_in_order_where_one_that_was_read_later_is_better() -> None:
    generation = Texts([LEASE] * 24 + ["Rent.", "Gate."], best_statement="Gate.")

    assert texts_of(generation, 8) == ["Gate.", LEASE, "Rent."]


def test_where_enough_passages_differ_no_more_are_read() -> None:
    generation = Texts([f"Passage {n} tells of {n * 7} bottles and {n * 11} corks." for n in range(50)])

    for top_k in (8, 24, 30):
        assert [hit.chunk.ordinal for hit in found(generation, top_k)] == list(range(top_k))
    assert generation.read == [list(range(24)), list(range(24)), list(range(30))]


@pytest.mark.parametrize("recency", [ALWAYS_FRESH, Recency({"t": 30.0})])
def test_where_nothing_is_a_candidate_nothing_is_found(recency: Recency) -> None:
    assert found(Texts([]), 8, recency) == []
