"""Is the world still the one that the champion was trained on, and is it still as good as it was? A verdict in words.

Pure: what was predicted and observed lately, beside the profile that the champion's training run logged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cuvee.drift import Moved, Profile, Shift, compare, mean_shift
from cuvee.errors import IntegrityError
from cuvee.settings import Settings
from ml_service.dataset import Floats
from ml_service.wine import INPUT_COLUMNS

Word = Literal["stable", "drifting", "degraded"]

PREDICTION, SQUARED_ERROR = "prediction", "squared_error"
"""Columns of the profile beside the inputs, both of wines that the model had not seen."""

_SEED = 20_091
_STRONG_P_VALUE = 1e-6
_STRONG_PSI_TIMES = 2.5


@dataclass(frozen=True)
class Limits:
    """What counts as drift, as degradation, and as reason enough to train again."""

    least_rows: int
    least_observed: int
    significance: float
    """Chance of any false alarm, of each of the two kinds, in one report."""
    psi: float
    """A column that moved less is not worth an alarm, however sure the move."""
    error_tolerance: float
    """Share by which the mean squared error may be higher than it was."""
    consecutive: int
    """So many verdicts in a row ask for a retraining, unless the evidence is strong."""
    cooldown: timedelta
    """Time after one retraining was asked for in which none is asked for again; after it, inputs that merely stay moved
    ask for one only with `least_observed` new qualities."""

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(
            least_rows=settings.monitor_least_rows,
            least_observed=settings.monitor_least_observed,
            significance=settings.monitor_significance,
            psi=settings.monitor_psi_limit,
            error_tolerance=settings.monitor_error_tolerance,
            consecutive=settings.monitor_consecutive,
            cooldown=timedelta(hours=settings.monitor_cooldown_hours),
        )


@dataclass(frozen=True, eq=False)
class Window:
    """What the champion answered lately."""

    inputs: Floats
    """Shape (predictions, 12), columns of `INPUT_COLUMNS`."""
    predicted: Floats
    """Shape (predictions,)."""
    squared_errors: Floats
    """Shape (observed,): of the answers whose quality came in lately."""

    def columns(self) -> dict[str, Floats]:
        """Inputs and predictions by their names in the profile."""
        return dict(zip(INPUT_COLUMNS, self.inputs.T, strict=True)) | {PREDICTION: self.predicted}


@dataclass(frozen=True)
class Verdict:
    """What one report says."""

    word: Word
    reasons: tuple[str, ...]
    strong: bool
    """The evidence needs no second verdict."""
    moved: tuple[Moved, ...]
    """Every column; empty with too few predictions to say."""
    error: Shift | None
    """None with too few observed qualities to say."""


@dataclass(frozen=True)
class Earlier:
    """What is known of an earlier report."""

    model_version: int
    word: str
    retraining: bool
    made_at: datetime


def judge(profile: Profile, window: Window, limits: Limits) -> Verdict | None:
    """The verdict on one window; None where there is too little to say anything.

    Raises:
        IntegrityError: the profile lacks a column.
    """
    missing = {*INPUT_COLUMNS, PREDICTION, SQUARED_ERROR} - set(profile.columns)
    if missing:
        raise IntegrityError(f"The champion's profile lacks {', '.join(sorted(missing))}; train it again.")
    rows, observed = len(window.predicted), len(window.squared_errors)
    moved: tuple[Moved, ...] = ()
    error: Shift | None = None
    if rows >= limits.least_rows:
        moved = tuple(compare(profile, window.columns()))
    if observed >= limits.least_observed:
        error = mean_shift(profile.columns[SQUARED_ERROR], window.squared_errors, 1 - 2 * limits.significance, _SEED)
    if not moved and error is None:
        return None
    return _verdict(moved, error, rows, observed, limits)


def _verdict(moved: tuple[Moved, ...], error: Shift | None, rows: int, observed: int, limits: Limits) -> Verdict:
    drifting = [one for one in moved if one.p_value < limits.significance and one.psi > limits.psi]
    drifting.sort(key=lambda one: -one.psi)
    degraded = error is not None and error.low > limits.error_tolerance * error.baseline
    reasons = [
        f"{one.column} moved: PSI {one.psi:.2f} (limit {limits.psi:g}), KS distance {one.ks:.2f}, corrected p-value "
        f"{one.p_value:.2g}."
        for one in drifting
    ]
    if error is not None:
        reasons.insert(0, _told(error, observed, degraded, limits))
    else:
        reasons.append(f"{observed} observed qualities are too few to judge the error.")
    if not drifting:
        told = f"No column moved on {rows} predictions." if moved else f"{rows} predictions are too few to judge drift."
        reasons.append(told)
    strong = any(one.p_value < _STRONG_P_VALUE and one.psi > _STRONG_PSI_TIMES * limits.psi for one in drifting)
    # More than doubled, with confidence.
    strong |= error is not None and error.low > error.baseline
    word: Word = "degraded" if degraded else "drifting" if drifting else "stable"
    return Verdict(word, tuple(reasons), strong, moved, error)


def _told(error: Shift, observed: int, degraded: bool, limits: Limits) -> str:
    return (
        f"Mean squared error of {observed} observed wines: {error.mean:.3f}, against {error.baseline:.3f} on unseen "
        f"wines in training; the difference lies between {error.low:.3f} and {error.high:.3f}, "
        f"{'above' if degraded else 'not above'} the {limits.error_tolerance:.0%} that are tolerated."
    )


def asks_for_retraining(
    verdict: Verdict, version: int, earlier: Sequence[Earlier], limits: Limits, now: datetime, received: int = 0
) -> tuple[bool, str]:
    """Whether this report asks for a retraining, and why or why not.

    Args:
        verdict: of this report.
        version: of the champion that it is about.
        earlier: reports before it, of all versions, newest first.
        limits: hysteresis and cool-down.
        now: time of this report.
        received: observed qualities that came in since the newest report that asked for a retraining.
    """
    if verdict.word == "stable":
        return False, "Nothing asks for a retraining."
    asked = next((one.made_at for one in earlier if one.retraining), None)
    if asked is not None and now - asked < limits.cooldown:
        return False, f"A retraining was asked for at {asked:%Y-%m-%d %H:%M}; the cool-down is not over."
    # A retraining learns from observed qualities: that inputs stay where they are teaches it nothing.
    lasting = asked is not None and not any(one.word == "stable" and one.made_at > asked for one in earlier)
    if verdict.word == "drifting" and lasting and received < limits.least_observed:
        return False, (
            f"For this shift a retraining was asked for at {asked:%Y-%m-%d %H:%M}, and since then {received} observed "
            f"qualities came in: another would see nothing new. Send what was observed (POST /observations); from "
            f"{limits.least_observed} on (CUVEE_MONITOR_LEAST_OBSERVED) it is asked for again."
        )
    if verdict.strong:
        return True, "The evidence is strong: a retraining is asked for at once."
    before = [one.word for one in earlier if one.model_version == version][: limits.consecutive - 1]
    if len(before) == limits.consecutive - 1 and "stable" not in before:
        return True, f"So says the verdict {limits.consecutive} times in a row: a retraining is asked for."
    return False, f"A retraining is asked for when {limits.consecutive} verdicts in a row say so."
