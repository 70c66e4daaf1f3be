"""The statements of passages, scored as answers to the question that found them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rag_service.answers.cues import answers_kind, kind_of
from rag_service.answers.words import squeezed, terms
from rag_service.documents.statements import Statement
from rag_service.index.calibration import AnswerWeights
from rag_service.index.hybrid import Hit, Match


@dataclass(frozen=True)
class Candidate:
    """One statement of one passage."""

    rank: int
    """Of its passage, from 0."""
    position: int
    """Among the statements of its passage, from 0."""
    statement: Statement
    match: Match
    score: float
    terms: frozenset[str]

    @property
    def text(self) -> str:
        return self.statement.text


def candidates(question: str, hits: Sequence[Hit]) -> list[Candidate]:
    """Every statement of the passages once, the one that answers best first."""
    found: dict[str, Candidate] = {}
    kind = kind_of(question)
    for rank, hit in enumerate(hits):
        weights = hit.query.calibration.answers
        for position, (statement, match) in enumerate(zip(hit.chunk.statements, hit.matches, strict=True)):
            score = _score(weights, match, hit.freshness * hit.score)
            if answers_kind(kind, question, statement.text):
                score += getattr(weights, kind)
            same, words = _compared(statement.text)
            known = found.get(same)
            if known is None or score > known.score:
                found[same] = Candidate(rank, position, statement, match, score, words)
    return sorted(found.values(), key=lambda one: (-one.score, one.rank, one.position))


@lru_cache(maxsize=4_096)
def _compared(text: str) -> tuple[str, frozenset[str]]:
    """What statements are told apart by; kept, as one question's are looked at to refuse and again to answer."""
    return squeezed(text), frozenset(terms(text))


def _score(weights: AnswerWeights, match: Match, passage: float) -> float:
    return (
        weights.similarity * match.similarity
        + weights.coverage * match.coverage
        + weights.context * match.context_coverage
        + weights.passage * passage
    )
