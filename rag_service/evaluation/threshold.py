"""How sure of an answer one must be to give it: the refusal threshold, chosen on a golden set's risk-coverage curve.

Three kinds of questions make the curve: those that have an answer, the same with the documents that hold it left out
(off-corpus), and those that have none though they may be on a topic that is there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_service.evaluation import metrics
from rag_service.evaluation.measuring import Measured
from rag_service.evaluation.metrics import RiskCoverage


@dataclass(frozen=True)
class OperatingPoint:
    """One point of the curve: what refusing below `threshold` comes to; shares, 0 to 1."""

    threshold: float
    kept: float
    """Share of the answerable questions that are answered."""
    coverage: float
    """Share of all questions that are answered."""
    risk: float
    """Share of the answers given that are not right; 0 where none is given."""


@dataclass(frozen=True)
class _Questions:
    """Every question of the three kinds; arrays of shape (questions,)."""

    chance: NDArray[np.float64]
    right: NDArray[np.bool_]
    answerable: NDArray[np.bool_]

    @classmethod
    def of(cls, measured: Sequence[Measured]) -> "_Questions":
        found = [(one.chance, one.right, one.case.answerable) for one in measured]
        found += [(one.chance_without, False, False) for one in measured if one.chance_without is not None]
        chance, right, answerable = (np.array(column) for column in zip(*found, strict=True))
        return cls(chance, right, answerable)

    def at(self, threshold: float) -> OperatingPoint:
        given = self.chance >= threshold
        wrong = float((given & ~self.right).sum())
        kept = float((given & self.answerable).sum() / max(1, self.answerable.sum()))
        return OperatingPoint(threshold, kept, float(given.mean()), wrong / max(1, int(given.sum())))


def curve(measured: Sequence[Measured]) -> RiskCoverage:
    """Over all questions of the three kinds; `measured` is not empty."""
    questions = _Questions.of(measured)
    return metrics.risk_coverage(questions.chance.tolist(), questions.right.tolist())


def point(measured: Sequence[Measured], threshold: float) -> OperatingPoint:
    return _Questions.of(measured).at(threshold)


def choose(measured: Sequence[Measured], least_kept: float) -> OperatingPoint:
    """The point of least risk among those that answer at least this share of the answerable questions."""
    questions = _Questions.of(measured)
    # Rounded down, so that what lies on the threshold is still answered.
    thresholds = sorted({math.floor(chance * 1e4) / 1e4 for chance in questions.chance.tolist()})
    points = [questions.at(threshold) for threshold in thresholds]
    return min((one for one in points if one.kept >= least_kept), key=lambda one: (one.risk, one.threshold))
