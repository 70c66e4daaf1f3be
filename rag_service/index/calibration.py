"""The weights of retrieval, of extractive answers and of refusal, as a generation's manifest carries them.

The defaults were fitted on eight articles of SQuAD 2.0's development set, those of refusal on the questions about the
sample documents too. A golden set of one's own replaces them where it proves that it may (`cuvee evaluate --tune`).
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from cuvee.errors import IntegrityError


class RetrievalWeights(BaseModel, frozen=True, extra="forbid"):
    """Of a passage's score; each signal lies about between 0 and 1, and so does their weighted sum."""

    dense: float = 0.19
    """Cosine of question and passage."""
    statement: float = 0.39
    """Best product of the question's vector and a statement's."""
    lexical: float = 0.06
    """BM25 as a share of the rarity of all words of the question."""
    coverage: float = 0.23
    """Share of the question's words, by rarity, that one statement with its title has."""
    phrases: float = 0.13
    """Share of the question's pairs of neighbouring words that the passage has."""


class AnswerWeights(BaseModel, frozen=True, extra="forbid"):
    """Of a statement's score as an answer."""

    similarity: float = 6.8
    """Product of the question's vector and the statement's."""
    coverage: float = 4.9
    """Share of the question's words, by rarity, in the statement."""
    context: float = 4.4
    """The same in the statement, the one before it and the title."""
    passage: float = 5.4
    """Score of the passage."""
    when: float = 2.0
    """The question asks for a time, and the statement has one; the next four likewise."""
    number: float = 1.2
    who: float = 0.2
    where: float = 0.8
    why: float = 0.4
    per_word: float = 0.02
    """What each word of a further statement costs."""


class RefusalWeights(BaseModel, frozen=True, extra="forbid"):
    """Of a logistic regression on whether the passages hold an answer; each is per unit of its signal."""

    intercept: float = -4.32
    passage: float = 3.05
    """Score of the best passage."""
    dense: float = 1.85
    """Cosine of the question and the best passage."""
    statement: float = -0.32
    """Best product of the question's vector and one of its statements'."""
    coverage: float = 1.18
    """Share of the question's words that one of its statements with its title has."""
    phrases: float = -1.76
    """Share of the question's pairs of neighbouring words that it has: they are in `passage`, too much for refusal."""
    answer: float = 3.27
    """Product of the question's vector and that of the statement that answers best."""
    missing_name: float = -0.93
    """1 if the best passage lacks a name that the question has."""
    missing_number: float = -1.16
    """1 if it lacks a number that the question has."""
    missing_negation: float = -1.72
    """1 if the question is negated and the statement that answers best is not."""


class Calibration(BaseModel, frozen=True, extra="forbid"):
    """All weights of a generation."""

    retrieval: RetrievalWeights = RetrievalWeights()
    answers: AnswerWeights = AnswerWeights()
    refusal: RefusalWeights = RefusalWeights()

    @classmethod
    def of(cls, tuning: Mapping[str, float]) -> "Calibration":
        """From a manifest's `tuning`: `<station>.<weight>` to value; what is not there has its default.

        Raises:
            IntegrityError: a name is unknown to this version.
        """
        nested: dict[str, dict[str, Any]] = {}
        for name, value in tuning.items():
            station, _, weight = name.partition(".")
            nested.setdefault(station, {})[weight] = value
        try:
            return cls.model_validate(nested)
        except ValidationError as error:
            raise IntegrityError(f"The manifest's tuning cannot be read by this version: {error}") from error

    def tuning(self) -> dict[str, float]:
        """For a manifest; the inverse of `of`."""
        return {
            f"{station}.{weight}": value
            for station, weights in self.model_dump().items()
            for weight, value in weights.items()
        }
