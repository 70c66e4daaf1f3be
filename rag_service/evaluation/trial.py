"""On trial beside what is served: other weights, another index; judged by questions that weights were not fitted to."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuvee import promotion
from cuvee.promotion import Decision, Policy
from rag_service.evaluation import metrics, threshold
from rag_service.evaluation.golden import NO_GROUP, Case
from rag_service.evaluation.measuring import Bench, Measured
from rag_service.evaluation.tuning import tune
from rag_service.index.calibration import Calibration

POLICY = Policy(margin=0.0)
RENEWAL = Policy(margin=-0.02)
"""What somebody asked to be indexed anew need not be better; it must be proven to lose no more than this."""


@dataclass(frozen=True)
class Trial:
    """Outcome of a trial of what would be served beside what is."""

    calibration: Calibration
    """What would be served with, as is `threshold`: what was fitted to all cases, or what is in use."""
    threshold: float
    decision: Decision
    after: list[Measured]
    """All cases with what would be served, each with weights that were not fitted to it."""
    fitted: list[Measured]
    """All cases with the weights that were fitted to them; empty where those in use are kept."""


def halves(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Two parts that share no topic or article; questions of none, or of the only one, go by a hash of the question."""
    groups = sorted({case.group for case in cases} - {NO_GROUP})
    first = set(groups[::2])

    def is_first(case: Case) -> bool:
        if case.group == NO_GROUP or len(groups) < 2:
            return hashlib.sha256(case.question.encode()).digest()[0] % 2 == 1
        return case.group in first

    return [case for case in cases if is_first(case)], [case for case in cases if not is_first(case)]


def losses(measured: Sequence[Measured], refused_below: float) -> NDArray[np.float64]:
    """Per case, 0 (best) to 1, shape (cases,).

    A refusal is judged by the mean of the squared error of the chance (Brier 1950) and of whether the wrong thing was
    done. For a question that has none, that is all. For one that has an answer it is a quarter, its documents left out;
    the others are for the rank of its passage (1 - nDCG@10), for an answer that was not given or lacks it, and for
    doubt (squared).
    """
    return np.array([_loss(one, refused_below) for one in measured], dtype=np.float64)


def same_weights(before: Bench, after: Bench, cases: Sequence[Case], policy: Policy, champion: str) -> Trial:
    """Decide whether `after` may be served in place of `before`, with its weights and threshold.

    Args:
        cases: answerable and unanswerable ones.
        policy: `POLICY` or `RENEWAL`.
        champion: what reasons call `before`.
    """
    calibration, refused_below = before.retriever.calibration, before.threshold
    was, now = list(before.measure(cases)), list(after.tuned(calibration, refused_below).measure(cases))
    decision = promotion.decide(losses(was, refused_below), losses(now, refused_below), policy, champion)
    return Trial(calibration, refused_below, decision, now, [])


def cross_fitted(
    before: Bench, after: Bench, cases: Sequence[Case], least_kept: float, policy: Policy, champion: str
) -> Trial:
    """Decide whether `after` may be served in place of `before`, with weights and a threshold fitted to `cases`.

    Each half of the cases is judged with what was fitted to the other (cross-fitting: Chernozhukov et al. 2018,
    "Double/debiased machine learning"); what would be served is fitted to both.

    Args:
        before: with the weights in use.
        after: the same index, or the one that would be served.
        cases: answerable and unanswerable ones; each of their halves has answerable ones.
        least_kept: share of the answerable questions that a threshold must let through.
        policy: `POLICY` or `RENEWAL`.
        champion: what reasons call `before`.
    """
    was: list[Measured] = []
    now: list[Measured] = []
    lost: list[NDArray[np.float64]] = []
    one, other = halves(cases)
    for fitting, judging in ((one, other), (other, one)):
        calibration, refused_below, _ = _fit(after, fitting, least_kept)
        was += before.measure(judging)
        judged = list(after.tuned(calibration, refused_below).measure(judging))
        now += judged
        lost.append(losses(judged, refused_below))
    decision = promotion.decide(losses(was, before.threshold), np.concatenate(lost), policy, champion)
    calibration, refused_below, fitted = _fit(after, cases, least_kept)
    return Trial(calibration, refused_below, decision, now, fitted)


def _fit(bench: Bench, cases: Sequence[Case], least_kept: float) -> tuple[Calibration, float, list[Measured]]:
    """Weights and threshold fitted to these cases, and the cases with them."""
    calibration = tune(cases, bench.search, lambda hit: bench.name_of(hit.chunk))
    fitted = list(bench.tuned(calibration).measure(cases))
    return calibration, threshold.choose(fitted, least_kept).threshold, fitted


def _loss(one: Measured, refused_below: float) -> float:
    if one.chance_without is None:
        return _refusal_loss(one.chance, refused_below)
    rank = 1 - metrics.ndcg(one.ranked["hybrid"], one.case.relevant)
    lacking = float(one.refused or not one.right)
    return (rank + lacking + (1 - one.chance) ** 2 + _refusal_loss(one.chance_without, refused_below)) / 4


def _refusal_loss(chance: float, refused_below: float) -> float:
    """Of a question that should be refused."""
    return (chance**2 + float(chance >= refused_below)) / 2
