"""Fitting a generation's weights to questions whose answers are known.

Retrieval and answers: the weights under which a softmax over the candidates gives the right ones most probability
(ListNet's top-one loss: Cao et al. 2007, "Learning to Rank: From Pairwise Approach to Listwise Approach").
Refusal: logistic regression. All are convex and small, so the same questions always give the same weights.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from rag_service.answers import refusal
from rag_service.answers.candidates import candidates
from rag_service.answers.cues import answers_kind, kind_of
from rag_service.evaluation.golden import Case
from rag_service.evaluation.metrics import holds
from rag_service.index.calibration import AnswerWeights, Calibration, RefusalWeights, RetrievalWeights
from rag_service.index.hybrid import Hit, Signals
from rag_service.index.neighbours import merged

Search = Callable[[Case, int, bool], list[Hit]]
"""Case, how many passages, whether the documents that hold its answer are left out; the passages found."""

_DEPTH = 30
ANSWER_PASSAGES = 8
_ANSWER_FIELDS = ("similarity", "coverage", "context", "passage", "when", "number", "who", "where", "why")


@dataclass(frozen=True)
class _Group:
    """Candidates of one question: signals, shape (candidates, signals), and which are right."""

    signals: NDArray[np.float64]
    right: NDArray[np.bool_]


def tune(cases: Sequence[Case], search: Callable[[Calibration], Search], name_of: Callable[[Hit], str]) -> Calibration:
    """Weights for these cases: of retrieval first, then, with those, of answers, and of refusal last.

    Args:
        cases: answerable and unanswerable ones.
        search: makes a search that uses given weights.
        name_of: what `Case.relevant` calls a hit.
    """
    answerable = [case for case in cases if case.answerable]
    found = Calibration()
    retrieval = _fit_retrieval(answerable, search(found), name_of)
    found = found.model_copy(update={"retrieval": retrieval or found.retrieval})
    answers = _fit_answers(answerable, search(found))
    found = found.model_copy(update={"answers": answers or found.answers})
    refusing = _fit_refusal(cases, search(found))
    return found.model_copy(update={"refusal": refusing or found.refusal})


def _fit_retrieval(cases: Sequence[Case], search: Search, name_of: Callable[[Hit], str]) -> RetrievalWeights | None:
    groups = []
    for case in cases:
        hits = search(case, _DEPTH, False)
        right = np.array([name_of(hit) in case.relevant for hit in hits], dtype=np.bool_)
        if right.any() and not right.all():
            groups.append(_Group(np.array([hit.signals for hit in hits]), right))
    if not groups:
        return None
    weights = np.maximum(_listwise(groups, penalty=1e-4), 0.0)
    if not weights.any():
        return None
    return RetrievalWeights(**_rounded(Signals._fields, weights / weights.sum()))


def _fit_answers(cases: Sequence[Case], search: Search) -> AnswerWeights | None:
    groups = []
    for case in cases:
        if case.answers:
            rows = list(_answer_rows(case, search(case, ANSWER_PASSAGES, False)))
            right = np.array([row[1] for row in rows], dtype=np.bool_)
            if right.any() and not right.all():
                groups.append(_Group(np.array([row[0] for row in rows]), right))
    if not groups:
        return None
    return AnswerWeights(**_rounded(_ANSWER_FIELDS, _listwise(groups, penalty=1e-3)))


def _answer_rows(case: Case, hits: Sequence[Hit]) -> Iterator[tuple[list[float], bool]]:
    kind = kind_of(case.question)
    for one in candidates(case.question, hits):
        match = one.match
        fits = answers_kind(kind, case.question, one.text)
        cues = [float(fits and kind == name) for name in _ANSWER_FIELDS[4:]]
        signals = [match.similarity, match.coverage, match.context_coverage, hits[one.rank].score, *cues]
        yield signals, holds(one.text, case.answers)


def _fit_refusal(cases: Sequence[Case], search: Search) -> RefusalWeights | None:
    rows, labels = [], []
    for case in cases:
        for without in (False, True) if case.answerable else (False,):
            # As an answer is judged: passages that touch are one.
            hits = merged(search(case, ANSWER_PASSAGES, without))
            if hits:
                rows.append(list(vars(refusal.signals(case.question, hits)).values()))
                labels.append(float(case.answerable and not without))
    if len(set(labels)) < 2:
        return None
    weights = _logistic(np.array(rows), np.array(labels))
    return RefusalWeights(**_rounded(("intercept", *refusal.Signals.__dataclass_fields__), weights))


def _listwise(groups: Sequence[_Group], penalty: float) -> NDArray[np.float64]:
    """Shape (signals,)."""

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, slope = penalty * float(weights @ weights) * len(groups), 2 * penalty * weights * len(groups)
        for group in groups:
            scores = group.signals @ weights
            right = scores[group.right]
            total += logsumexp(scores) - logsumexp(right)
            slope = slope + np.exp(scores - logsumexp(scores)) @ group.signals
            slope = slope - np.exp(right - logsumexp(right)) @ group.signals[group.right]
        return total / len(groups), slope / len(groups)

    return np.asarray(minimize(loss, np.ones(groups[0].signals.shape[1]), jac=True, method="L-BFGS-B").x)


def _logistic(rows: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intercept and weights per unit of each signal; regularised on signals of spread one, shape (signals + 1,)."""
    middle, spread = rows.mean(axis=0), rows.std(axis=0)
    # A signal that never varies tells nothing: its weight stays zero.
    scale = np.where(spread > 1e-9, spread, np.inf)
    standard = np.c_[np.ones(len(rows)), (rows - middle) / scale]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        linear = standard @ weights
        value = float(np.sum(np.logaddexp(0, linear) - labels * linear)) + 1.5 * float(weights[1:] @ weights[1:])
        return value, standard.T @ (expit(linear) - labels) + np.r_[0.0, 3.0 * weights[1:]]

    found = minimize(loss, np.zeros(standard.shape[1]), jac=True, method="L-BFGS-B").x
    weights = found[1:] / scale
    return np.concatenate([[found[0] - weights @ middle], weights])


def _rounded(names: Sequence[str], values: Sequence[float] | NDArray[np.float64]) -> dict[str, Any]:
    return {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}
