"""Passages that age in the topics that do, and not elsewhere."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rag_service.answers.candidates import candidates
from rag_service.index import building, hybrid
from rag_service.index.calibration import Calibration
from rag_service.index.generation import Generation
from rag_service.index.hybrid import Hit
from rag_service.index.recency import ALWAYS_FRESH, Recency
from rag_service.index.rows import SCHEMA, Chunk, Rows
from rag_service.index.search import Retriever
from tests.hits import made_hit
from tests.unit.rag_service.index.library import DIMENSION, RECIPE

TODAY = datetime.date(2026, 6, 30)
AGING = Recency({"news": 30}, lambda: TODAY)
NOTICE = (
    "Gate code: drivers with grapes enter by the north yard, show the harvest card, weigh every crate twice, wait by "
    "the green lamp until a cellar hand waves, unload quickly, sign both forms, leave southwards slowly, engine quiet: "
)


def chunk(topic: str, date: datetime.date | None) -> Chunk:
    return Chunk("c", "d", topic, "s", "T", "u", 0, None, 0, 1, "x", date=date)


@pytest.mark.parametrize(
    ("days", "freshness"), [(0, 1.0), (30, 0.75), (60, 0.625), (15, 0.5 + 0.5**1.5), (10**6, 0.5), (-5, 1.0)]
)
def test_half_of_the_weight_halves_at_every_half_life_and_the_rest_stays(days: int, freshness: float) -> None:
    date = datetime.date.fromordinal(max(1, TODAY.toordinal() - days))

    assert AGING.freshness(chunk("news", date)) == pytest.approx(freshness)
    assert AGING.freshness(chunk("safety", date)) == 1.0
    assert ALWAYS_FRESH.freshness(chunk("news", date)) == 1.0


def test_a_document_without_a_date_is_one_half_life_old() -> None:
    assert AGING.freshness(chunk("news", None)) == pytest.approx(0.75)


def generation(folder: Path) -> Generation:
    """Two notices that say nearly the same, the older one nearer to the question; and another topic as old."""
    old, new = datetime.date(2025, 6, 30), TODAY
    made = [("old", "news", old, NOTICE + "4711", 0.9), ("new", "news", new, NOTICE + "4712", 0.8)]
    made.append(("rule", "safety", old, "Drivers stay out of the press room.", 0.7))
    records: list[dict[str, Any]] = []
    vectors = np.zeros((3, DIMENSION), np.float32)
    for row, (name, topic, date, text, cosine) in enumerate(made):
        vectors[row, :2] = cosine, np.sqrt(1 - cosine**2)
        about = {"chunk_id": name, "document_id": name, "topic": topic, "segment": "s", "title": "T", "uri": name}
        place = {"ordinal": 0, "page": None, "start_char": 0, "end_char": len(text)}
        records.append(about | place | {"text": text, "date": date, "source": "feed", "statements": []})
    rows = Rows(pa.Table.from_pylist(records, SCHEMA), vectors)
    return Generation.load(building.build(folder, 1, rows, RECIPE))


class Toward:
    """Every question points along the first axis."""

    id, version, dimension = RECIPE.embedder, RECIPE.embedder_version, DIMENSION

    def encode(self, texts):
        return np.eye(1, DIMENSION, dtype=np.float32).repeat(len(texts), axis=0)


def test_of_notices_that_say_nearly_the_same_the_newer_one_is_found(tmp_path: Path) -> None:
    served = generation(tmp_path)
    question = "What is the code of the gate?"

    plain = Retriever(served, Toward()).search(question, 3).hits
    aged = Retriever(served, Toward(), recency=AGING).search(question, 3).hits

    assert [hit.chunk.chunk_id for hit in plain] == ["old", "rule"]
    assert [hit.chunk.chunk_id for hit in aged] == ["new", "rule"]
    assert [hit.freshness for hit in aged] == [1.0, 1.0]
    query = hybrid.understood(served, question, Toward().encode([question])[0], Calibration())
    with_both = hybrid.search(served, query, 3, None, Recency({"news": 300}, lambda: TODAY))
    assert with_both[0].score == pytest.approx(aged[0].score), "the score stays what refusal is fitted to"


def test_of_two_equal_statements_the_one_of_the_fresher_passage_answers() -> None:
    def hit(name: str, freshness: float) -> Hit:
        text = f"The code is {name}."
        made = made_hit(Chunk(name, name, "news", "s", "T", "u", 0, None, 0, len(text), text), 0.5, "code")
        return Hit(made.chunk, made.score, made.signals, made.matches, made.query, freshness=freshness)

    found = candidates("What is the code?", [hit("4711", 0.6), hit("4712", 1.0)])

    assert [one.text for one in found] == ["The code is 4712.", "The code is 4711."]
    assert found[0].score - found[1].score == pytest.approx(0.4 * 0.5 * Calibration().answers.passage)
