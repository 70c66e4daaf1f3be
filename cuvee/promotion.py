"""The one way in which anything becomes champion: paired evidence on frozen cases, a decision, a record.

The test is a paired bootstrap of the mean per-case gain (Efron and Tibshirani 1993, chapter 13; for comparing systems
on the same cases: Koehn 2004, "Statistical significance tests for machine translation evaluation"). Where some cases
are recent, a second question is asked of these alone, each at half the error (Bonferroni); ADR 11 says why.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from pydantic import BaseModel, Field
from scipy import stats
from sqlalchemy.dialects.postgresql import insert

from cuvee.database import promotions
from cuvee.errors import InvalidInputError

Losses = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Approval = Literal["automatic", "human"]


class Policy(BaseModel, frozen=True):
    """When a challenger is promoted."""

    margin: float = 0.0
    """Least gain, in the unit of the scores, that the lower bound must exceed. Below 0: how much worse it may be, for
    what somebody asked for and is not there to score higher (a trial of non-inferiority)."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the one-sided bounds."""
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2_000
    least_cases: Annotated[int, Field(ge=2)] = 30
    """Fewer decide nothing; a slice of fewer is no guard."""
    slice_tolerance: Annotated[float, Field(ge=0)] = 0.0
    """A slice may lose this much; the guard fails where it is proven to lose more."""
    latency_limit_ms: Annotated[float, Field(gt=0)] | None = None
    """Longest time that the challenger may take for one case."""
    approval: Approval = "automatic"
    """`human`: what the evidence would promote waits until somebody agrees."""
    seed: int = 20_091


@dataclass(frozen=True, eq=False)
class Checks:
    """What else is known of the cases; all masks have shape (cases,)."""

    slices: Mapping[str, Mask] = field(default_factory=dict)
    """Parts in which the challenger must not be worse."""
    recent: Mask | None = None
    """Cases of the world as it is now."""
    latency_ms: float | None = None
    """What the challenger takes for one case."""


@dataclass(frozen=True)
class Guard:
    """One thing that may not fall; `value` is a slice's best believable gain, or milliseconds."""

    name: str
    holds: bool
    value: float
    limit: float
    cases: int


@dataclass(frozen=True)
class Decision:
    """Outcome of one comparison; `gain` is positive where the challenger is better."""

    promoted: bool
    reason: str
    gain: float
    gain_low: float
    cases: int
    guards: tuple[Guard, ...] = ()

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Decision":
        """From the evidence in `promotions`; a row older than guards has none."""
        told = {name: found[name] for name in ("promoted", "reason", "gain", "gain_low", "cases")}
        return cls(**told, guards=tuple(Guard(**one) for one in found.get("guards", ())))


def decide(
    champion_losses: Losses, challenger_losses: Losses, policy: Policy, champion: str, checks: Checks | None = None
) -> Decision:
    """Compare two models on the same cases.

    Args:
        champion_losses: shape (cases,), loss of the champion (or baseline) per case, lower is better.
        challenger_losses: shape (cases,), loss of the challenger on the same cases in the same order.
        policy: margin, confidence and resamples.
        champion: what the champion is called in the reason.
        checks: slices and latency to guard, and which cases are recent.

    Raises:
        InvalidInputError: the two are not paired, or a loss is not finite.
    """
    if champion_losses.shape != challenger_losses.shape or champion_losses.ndim != 1:
        raise InvalidInputError(f"Losses are not paired: shapes {champion_losses.shape} and {challenger_losses.shape}.")
    if not (np.isfinite(champion_losses).all() and np.isfinite(challenger_losses).all()):
        raise InvalidInputError("A loss is not a finite number; score every case before deciding.")
    checks = checks or Checks()
    cases = len(champion_losses)
    if cases < policy.least_cases:
        return Decision(
            False, f"{cases} cases are too few to decide; the policy asks for {policy.least_cases}.", 0.0, 0.0, cases
        )
    gains = champion_losses - challenger_losses
    found = _proof(gains, policy, champion, checks)
    guards = _guards(gains, policy, checks)
    failing = [guard for guard in guards if not guard.holds]
    if not (found.promoted and failing):
        return Decision(found.promoted, found.reason, found.gain, found.gain_low, found.cases, guards)
    told = "; ".join(_told(guard) for guard in failing)
    return Decision(False, f"{found.reason} But {told}.", found.gain, found.gain_low, found.cases, guards)


def _proof(gains: Losses, policy: Policy, champion: str, checks: Checks) -> Decision:
    """The first question that proves a gain; if none does, the first with what is to be said of all."""
    asked = {"cases": gains}
    recent = checks.recent
    if recent is not None and policy.least_cases <= recent.sum() < len(gains):
        asked["recent cases"] = gains[recent]
    confidence = 1 - (1 - policy.confidence) / len(asked)
    answers = []
    for name, some in asked.items():
        gain, low = float(some.mean()), _bound(some, "greater", confidence, policy)
        reason = (
            f"Mean gain over {champion} on {len(some)} {name}: {gain:.4f}; its lower bound at {100 * confidence:g}% "
            f"confidence, {low:.4f}, {'exceeds' if low > policy.margin else 'does not exceed'} the margin "
            f"{policy.margin:.4f}."
        )
        answers.append(Decision(low > policy.margin, reason, gain, low, len(some)))
    for answer in answers:
        if answer.promoted:
            return answer
    return replace(answers[0], reason=" ".join(answer.reason for answer in answers))


def _guards(gains: Losses, policy: Policy, checks: Checks) -> tuple[Guard, ...]:
    """A slice is judged on its recent cases, or on all of them where too few are recent."""
    recent = np.zeros(len(gains), bool) if checks.recent is None else checks.recent
    found = []
    for name, mask in {**checks.slices, "recent": recent}.items():
        chosen = mask & recent if (mask & recent).sum() >= policy.least_cases else mask
        if chosen.sum() >= policy.least_cases:
            high = _bound(gains[chosen], "less", policy.confidence, policy)
            limit = -policy.slice_tolerance
            found.append(Guard(name, high >= limit, high, limit, int(chosen.sum())))
    if checks.latency_ms is not None and policy.latency_limit_ms is not None:
        in_time = checks.latency_ms <= policy.latency_limit_ms
        found.append(Guard("latency", in_time, checks.latency_ms, policy.latency_limit_ms, 1))
    return tuple(found)


def _told(guard: Guard) -> str:
    if guard.name == "latency":
        return f"one case takes {guard.value:.1f} ms, more than the {guard.limit:.1f} ms allowed"
    return (
        f"it is worse on the slice {guard.name}: on {guard.cases} cases it gains {guard.value:.4f} at best, "
        f"less than the {guard.limit:.4f} tolerated"
    )


def _bound(gains: Losses, side: Literal["greater", "less"], confidence: float, policy: Policy) -> float:
    """Lower ("greater") or upper ("less") one-sided bound of the mean of `gains`."""
    if np.ptp(gains) == 0.0:
        return float(gains[0])
    interval = stats.bootstrap(
        (gains,),
        np.mean,
        n_resamples=policy.resamples,
        batch=100,
        confidence_level=confidence,
        alternative=side,
        method="percentile",
        rng=np.random.default_rng(policy.seed),
    ).confidence_interval
    return float(interval.low if side == "greater" else interval.high)


def record(
    connection: sa.Connection, artefact: str, challenger: str, champion: str | None, decision: Decision, policy: Policy
) -> Decision:
    """Write the decision once per (artefact, challenger); a repeated step gets the decision that stands.

    Where the policy asks for approval, a promotion waits for it.
    """
    values = {
        "artefact": artefact,
        "challenger": challenger,
        "champion": champion,
        "promoted": decision.promoted,
        "reason": decision.reason,
        "evidence": {**asdict(decision), "policy": policy.model_dump()},
        "approval": "waiting" if decision.promoted and policy.approval == "human" else None,
    }
    statement = (
        insert(promotions)
        .values(**values)
        .on_conflict_do_nothing(index_elements=["artefact", "challenger"], index_where=sa.text("kind = 'decision'"))
    )
    if connection.execute(statement.returning(promotions.c.promotion_id)).one_or_none() is not None:
        return decision
    stands = recorded(connection, artefact, challenger)
    assert stands is not None, "the row that conflicted is visible in this transaction"
    return stands


def recorded(connection: sa.Connection, artefact: str, challenger: str) -> Decision | None:
    """The decision that stands for this challenger, if there is one."""
    evidence = connection.execute(
        sa.select(promotions.c.evidence).where(*_decision_on(artefact, challenger))
    ).scalar_one_or_none()
    return None if evidence is None else Decision.from_json(evidence)


def superseded(connection: sa.Connection, artefact: str, challenger: str) -> bool:
    """Whether something else took effect after this challenger was decided on: a repeated step must not undo that."""
    decided = sa.select(promotions.c.promotion_id).where(*_decision_on(artefact, challenger)).scalar_subquery()
    later = sa.select(sa.literal(1)).where(
        promotions.c.artefact == artefact, in_effect(), promotions.c.promotion_id > decided
    )
    return connection.execute(sa.select(sa.exists(later))).scalar_one()


def in_effect() -> sa.ColumnElement[bool]:
    """Condition on a row of `promotions`: its challenger is to be served, by decision or by going back."""
    return promotions.c.promoted & (sa.func.coalesce(promotions.c.approval, "approved") == "approved")


def _decision_on(artefact: str, challenger: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        promotions.c.artefact == artefact,
        promotions.c.challenger == challenger,
        promotions.c.kind == "decision",
    )
