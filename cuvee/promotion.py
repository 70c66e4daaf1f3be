"""The one way in which anything becomes champion: paired evidence on frozen cases, a decision, a record.

The test is a paired bootstrap of the mean per-case gain (Efron and Tibshirani 1993, chapter 13; for comparing systems
on the same cases: Koehn 2004, "Statistical significance tests for machine translation evaluation").
"""

from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from pydantic import BaseModel, Field
from scipy import stats
from sqlalchemy.dialects.postgresql import insert

from cuvee.database import promotions
from cuvee.errors import InvalidInputError


class Policy(BaseModel, frozen=True):
    """When a challenger is promoted."""

    margin: Annotated[float, Field(ge=0)] = 0.0
    """Least gain, in the unit of the scores, that the lower bound must exceed."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the one-sided lower bound."""
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2_000
    least_cases: Annotated[int, Field(ge=2)] = 30
    seed: int = 20_091


@dataclass(frozen=True)
class Decision:
    """Outcome of one comparison; `gain` is positive where the challenger is better."""

    promoted: bool
    reason: str
    gain: float
    gain_low: float
    cases: int


def decide(
    champion_losses: npt.NDArray[np.float64], challenger_losses: npt.NDArray[np.float64], policy: Policy, champion: str
) -> Decision:
    """Compare two models on the same cases.

    Args:
        champion_losses: shape (cases,), loss of the champion (or baseline) per case, lower is better.
        challenger_losses: shape (cases,), loss of the challenger on the same cases in the same order.
        policy: margin, confidence and resamples.
        champion: what the champion is called in the reason.

    Raises:
        InvalidInputError: the two are not paired, or a loss is not finite.
    """
    if champion_losses.shape != challenger_losses.shape or champion_losses.ndim != 1:
        raise InvalidInputError(f"Losses are not paired: shapes {champion_losses.shape} and {challenger_losses.shape}.")
    if not (np.isfinite(champion_losses).all() and np.isfinite(challenger_losses).all()):
        raise InvalidInputError("A loss is not a finite number; score every case before deciding.")
    cases = len(champion_losses)
    if cases < policy.least_cases:
        return Decision(
            False, f"{cases} cases are too few to decide; the policy asks for {policy.least_cases}.", 0.0, 0.0, cases
        )
    gains = champion_losses - challenger_losses
    gain = float(gains.mean())
    if np.ptp(gains) == 0.0:
        low = gain
    else:
        low = float(
            stats.bootstrap(
                (gains,),
                np.mean,
                n_resamples=policy.resamples,
                batch=100,
                confidence_level=policy.confidence,
                alternative="greater",
                method="percentile",
                rng=np.random.default_rng(policy.seed),
            ).confidence_interval.low
        )
    promoted = low > policy.margin
    verb = "exceeds" if promoted else "does not exceed"
    reason = (
        f"Mean gain over {champion} on {cases} cases: {gain:.4f}; its lower bound at {policy.confidence:.0%} "
        f"confidence, {low:.4f}, {verb} the margin {policy.margin:.4f}."
    )
    return Decision(promoted, reason, gain, low, cases)


def record(
    connection: sa.Connection, artefact: str, challenger: str, champion: str | None, decision: Decision, policy: Policy
) -> Decision:
    """Write the decision once per (artefact, challenger); a repeated step gets the decision that stands."""
    values = {
        "artefact": artefact,
        "challenger": challenger,
        "champion": champion,
        "promoted": decision.promoted,
        "reason": decision.reason,
        "evidence": {**asdict(decision), "policy": policy.model_dump()},
    }
    statement = insert(promotions).values(**values).on_conflict_do_nothing(index_elements=["artefact", "challenger"])
    if connection.execute(statement.returning(promotions.c.promotion_id)).one_or_none() is not None:
        return decision
    stands = recorded(connection, artefact, challenger)
    assert stands is not None, "the row that conflicted is visible in this transaction"
    return stands


def recorded(connection: sa.Connection, artefact: str, challenger: str) -> Decision | None:
    """The decision that stands for this challenger, if there is one."""
    statement = sa.select(promotions.c.evidence).where(
        promotions.c.artefact == artefact, promotions.c.challenger == challenger
    )
    evidence = connection.execute(statement).scalar_one_or_none()
    if evidence is None:
        return None
    return Decision(**{name: evidence[name] for name in Decision.__dataclass_fields__})


def superseded(connection: sa.Connection, artefact: str, challenger: str) -> bool:
    """Whether something else was promoted after this challenger was decided on: a repeated step must not undo that."""
    decided = (
        sa.select(promotions.c.promotion_id)
        .where(promotions.c.artefact == artefact, promotions.c.challenger == challenger)
        .scalar_subquery()
    )
    later = sa.select(sa.literal(1)).where(
        promotions.c.artefact == artefact, promotions.c.promoted, promotions.c.promotion_id > decided
    )
    return connection.execute(sa.select(sa.exists(later))).scalar_one()
