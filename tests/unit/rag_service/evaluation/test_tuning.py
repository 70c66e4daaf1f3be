"""Weights fitted to questions."""

from dataclasses import replace

from rag_service.evaluation.golden import Case
from rag_service.evaluation.tuning import tune
from rag_service.index.calibration import Calibration
from rag_service.index.hybrid import Hit, Signals
from rag_service.index.rows import Chunk
from tests.hits import made_hit


def test_where_every_signal_speaks_against_the_right_passage_the_weights_stay_as_they_were() -> None:
    case = Case("Text?", True, frozenset(["right"]), (), "t")

    def hit(name: str, signal: float) -> Hit:
        made = made_hit(Chunk(name, name, "t", "s", "T", "u", 0, None, 0, 5, "Text."), signal)
        return replace(made, signals=Signals(*[signal] * 5))

    hits = [hit("wrong", 1.0), hit("right", 0.0)]
    found = tune([case], lambda _: lambda *_: hits, lambda one: one.chunk.chunk_id)

    assert found.retrieval == Calibration().retrieval
