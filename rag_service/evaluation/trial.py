"""Weights on trial: fitted to one half of a golden set, judged on the other against those in use."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuvee import promotion
from cuvee.promotion import Decision, Policy
from rag_service.evaluation import metrics
from rag_service.evaluation.golden import Case
from rag_service.evaluation.measuring import Bench, Measured
from rag_service.evaluation.tuning import tune
from rag_service.index.calibration import Calibration

POLICY = Policy(margin=0.0)


@dataclass(frozen=True)
class Trial:
    """Outcome of tuning."""

    calibration: Calibration
    """What was fitted, served only if it was promoted."""
    decision: Decision
    present: list[Measured]
    """The judging half with the weights in use."""
    tuned: list[Measured]


def halves(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Two parts that share no topic or article; where there is one only, by a hash of the question."""
    groups = sorted({case.group for case in cases})
    first = set(groups[::2])
    if len(groups) > 1:
        return [c for c in cases if c.group in first], [c for c in cases if c.group not in first]
    odd = [hashlib.sha256(case.question.encode()).digest()[0] % 2 == 1 for case in cases]
    return (
        [case for case, is_odd in zip(cases, odd, strict=True) if is_odd],
        [case for case, is_odd in zip(cases, odd, strict=True) if not is_odd],
    )


def losses(measured: Sequence[Measured]) -> NDArray[np.float64]:
    """Per case, 0 (best) to 1, shape (cases,).

    For a question that has an answer, a third each for the rank of its passage (1 - nDCG@10), for an answer that lacks
    it, and for doubt (squared); for one that has none, the squared chance that was given to an answer (Brier 1950).
    """
    return np.array([_loss(one) for one in measured], dtype=np.float64)


def _loss(one: Measured) -> float:
    if not one.case.answerable:
        return one.chance**2
    rank = 1 - metrics.ndcg(one.ranked["hybrid"], one.case.relevant)
    lacking = float(not one.right) if one.case.answers else rank
    return (rank + lacking + (1 - one.chance) ** 2) / 3


def trial(bench: Bench, cases: Sequence[Case]) -> Trial:
    """Fit weights to one half of `cases`, and decide by the other whether they may be served."""
    fitting, judging = halves(cases)
    found = tune(fitting, bench.search, lambda hit: bench.name_of(hit.chunk))
    present, tuned = list(bench.measure(judging)), list(bench.tuned(found).measure(judging))
    decision = promotion.decide(losses(present), losses(tuned), POLICY, "the weights in use")
    return Trial(found, decision, present, tuned)
