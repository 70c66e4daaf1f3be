"""Whether the passages hold an answer: a calibrated probability from what the question has and they lack."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from rag_service.answers.candidates import candidates
from rag_service.answers.cues import capitalised
from rag_service.answers.words import negated, numbers, words
from rag_service.index.calibration import RefusalWeights
from rag_service.index.generation import Manifest
from rag_service.index.hybrid import Hit
from rag_service.index.search import Found

NOT_THERE = "the passages found do not seem to hold an answer"
NOTHING_THERE = "nothing is indexed there"


class Decide(Protocol):
    def __call__(self, found: Found, manifest: Manifest) -> str | None: ...


def decide(found: Found, manifest: Manifest) -> str | None:
    """Why there is nothing to answer from, as the end of a sentence; None when there is."""
    if not found.hits:
        return NOTHING_THERE
    best = found.hits[0]
    chance = probability(signals(best.query.text, found.hits), best.query.calibration.refusal)
    return NOT_THERE if chance < manifest.refusal_threshold else None


@dataclass(frozen=True)
class Signals:
    """What the decision rests on; the weights of the same names say what each means."""

    passage: float
    dense: float
    statement: float
    coverage: float
    phrases: float
    answer: float
    missing_name: float
    missing_number: float
    missing_negation: float


def signals(question: str, hits: Sequence[Hit]) -> Signals:
    """Of the best passage and of the statement that answers best; `hits` is not empty."""
    best = hits[0]
    passage = f"{best.chunk.title}\n{best.chunk.text}"
    found = candidates(question, hits)
    answer = found[0] if found else None
    said = {word.casefold() for word in words(passage)}
    return Signals(
        passage=best.score,
        dense=best.signals.dense,
        statement=best.signals.statement,
        coverage=best.signals.coverage,
        phrases=best.signals.phrases,
        answer=answer.match.similarity if answer else best.signals.dense,
        missing_name=float(not _names(question) <= said),
        missing_number=float(not numbers(question) <= numbers(passage)),
        missing_negation=float(negated(question) and answer is not None and not negated(answer.text)),
    )


def _names(question: str) -> set[str]:
    """Capitalised words but the first, which always is."""
    first = words(question)[:1]
    return set(capitalised(question)) - {word.casefold() for word in first}


def probability(found: Signals, weights: RefusalWeights) -> float:
    """That the passages hold an answer, 0 to 1."""
    linear = weights.intercept + sum(getattr(weights, name) * value for name, value in asdict(found).items())
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, linear))))
