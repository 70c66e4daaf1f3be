"""The default answer model: the sentences of the passages that fit the question best, word for word."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from rag_service.answers.candidates import Candidate, candidates
from rag_service.answers.words import squeezed, terms
from rag_service.index.generation import Hit
from rag_service.index.search import Encoder

MOST_SENTENCES = 3
MOST_WORDS = 60
_NEAR_DUPLICATE = 0.8
# Weights of the three scores, each as a z-score over the candidates; chosen on SQuAD 2.0's development set.
_SIMILARITY, _OVERLAP, _PASSAGE = 0.6, 0.4, 0.3


class ExtractiveModel:
    """Scores each sentence by similarity to the question, words shared with it, and its passage's score."""

    name = "extractive-1"

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def draft(self, question: str, hits: Sequence[Hit]) -> list[str]:
        """At most three sentences and sixty words; the best one is always whole."""
        found = candidates(hits)
        if not found:
            return []
        chosen: list[Candidate] = []
        for index in np.argsort(-self._scores(question, found, hits), kind="stable"):
            candidate = found[int(index)]
            length = sum(len(c.text.split()) for c in (*chosen, candidate))
            if chosen and (length > MOST_WORDS or any(_alike(candidate, other) for other in chosen)):
                continue
            chosen.append(candidate)
            if len(chosen) == MOST_SENTENCES:
                break
        return [c.text for c in sorted(chosen, key=lambda c: (c.rank, c.position))]

    def _scores(self, question: str, found: Sequence[Candidate], hits: Sequence[Hit]) -> npt.NDArray[np.float64]:
        vectors = self._encoder.encode([question, *(c.in_context for c in found)]).astype(np.float64)
        similarity = vectors[1:] @ vectors[0]
        passage = np.array([hits[c.rank].score for c in found])
        return np.asarray(
            _SIMILARITY * _standard(similarity)
            + _OVERLAP * _standard(overlap(terms(question), found))
            + _PASSAGE * _standard(passage)
        )


def overlap(question: Iterable[str], found: Sequence[Candidate]) -> npt.NDArray[np.float64]:
    """Share of the question's terms, weighted by their rarity among the sentences, that each sentence has."""
    holding = Counter(term for candidate in found for term in candidate.terms)
    wanted = {term: math.log(1 + (len(found) - holding[term] + 0.5) / (holding[term] + 0.5)) for term in question}
    whole = sum(wanted.values()) or 1.0
    # Summed in one order, so that the same question gives the same figures in every process.
    return np.array([sum(wanted[t] for t in sorted(wanted.keys() & c.terms)) / whole for c in found])


def _standard(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros_like(values)


def _alike(one: Candidate, other: Candidate) -> bool:
    """Nearly the same words (Jaccard), or one within the other: what overlapping chunks yield."""
    if not one.terms or not other.terms:
        return not one.terms and not other.terms
    share = len(one.terms & other.terms) / len(one.terms | other.terms)
    return share >= _NEAR_DUPLICATE or squeezed(one.text) in squeezed(other.text)
