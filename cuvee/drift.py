"""What data looked like when a model was trained, small enough to travel with it, and how far later data is from it.

Two measures with two jobs. The population stability index says how much a distribution moved (Siddiqi 2006, "Credit
Risk Scorecards", chapter 9, with its customary limits 0.1 and 0.25); with few rows it is large by chance alone
(Yurdakul and Naranjo 2020, "Statistical properties of the population stability index"). The Kolmogorov-Smirnov test
says whether a move so large can be chance; with many rows it is sure of moves that matter to nobody.

Its p-values are corrected by Holm 1979, "A simple sequentially rejective multiple test procedure": one false alarm
among all columns costs a whole retraining, so the chance of any is what is held down (not their share among the alarms,
as Benjamini and Hochberg do), and Holm does so however the columns hang together, which those of wines do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from cuvee.errors import IntegrityError, InvalidInputError

Floats = npt.NDArray[np.float64]

_POINTS = 1001
_BINS = 10
_MOST_BASELINE_ROWS = 5_000


@dataclass(frozen=True)
class Distribution:
    """One column: how many rows, and quantiles at `_POINTS` even steps from smallest to largest."""

    rows: int
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, values: Floats) -> "Distribution":
        """Of finite values, shape (rows,), at least one."""
        points = np.quantile(values, np.linspace(0, 1, _POINTS), method="inverted_cdf")
        return cls(len(values), tuple(float(point) for point in points))

    def share_up_to(self, places: Floats) -> Floats:
        """Share of the rows that are at most each of `places`, shape (places,), within 1/1000."""
        found = np.searchsorted(np.asarray(self.quantiles), places, side="right") - 1
        return np.clip(found, 0, None) / (_POINTS - 1)

    def rows_like_it(self, most: int) -> Floats:
        """Evenly spread over the distribution: as many rows as it has, or `most`; shape (rows,)."""
        size = min(self.rows, most)
        return np.interp((np.arange(size) + 0.5) / size, np.linspace(0, 1, _POINTS), self.quantiles)


@dataclass(frozen=True)
class Profile:
    """Distributions by column name."""

    columns: Mapping[str, Distribution]

    @classmethod
    def of(cls, columns: Mapping[str, Floats]) -> "Profile":
        return cls({name: Distribution.of(values) for name, values in columns.items()})

    def to_json(self) -> dict[str, Any]:
        return {name: {"rows": one.rows, "quantiles": list(one.quantiles)} for name, one in self.columns.items()}

    @classmethod
    def from_json(cls, found: Any) -> "Profile":
        """Raises IntegrityError when this is no profile."""
        try:
            return cls(
                {
                    str(name): Distribution(int(one["rows"]), tuple(float(point) for point in one["quantiles"]))
                    for name, one in found.items()
                }
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"This is no data profile: {error!r}.") from error


@dataclass(frozen=True)
class Moved:
    """How far one column of later data is from the baseline."""

    column: str
    psi: float
    """Population stability index, from 0."""
    ks: float
    """Kolmogorov-Smirnov distance, 0 to 1."""
    p_value: float
    """Chance of such a distance with no drift at all, corrected for the number of columns."""


@dataclass(frozen=True)
class Shift:
    """A mean of later data beside the baseline's, with the interval of their difference."""

    mean: float
    baseline: float
    low: float
    high: float


def compare(profile: Profile, columns: Mapping[str, Floats]) -> list[Moved]:
    """Every column against its own baseline, in the order of `columns`.

    Args:
        profile: of the training data.
        columns: finite values by name, each of shape (rows,), at least one row.

    Raises:
        InvalidInputError: a column is empty or not in the profile.
    """
    for name, values in columns.items():
        if name not in profile.columns or not len(values):
            raise InvalidInputError(f"The column {name} has no rows or no baseline to be compared with.")
    pairs = [(profile.columns[name], values) for name, values in columns.items()]
    tested = [kolmogorov_smirnov(baseline, values) for baseline, values in pairs]
    corrected = holm(np.array([p_value for _, p_value in tested]))
    return [
        Moved(name, population_stability(baseline, values), ks, float(p_value))
        for name, (baseline, values), (ks, _), p_value in zip(columns, pairs, tested, corrected, strict=True)
    ]


def population_stability(baseline: Distribution, values: Floats) -> float:
    """Sum over bins of (later share - baseline share) * ln(later share / baseline share).

    The bins are the baseline's tenths, fewer where values repeat; of a baseline that is one value: below, at and above
    it. Half a row is added to each, so that an empty one has a logarithm.
    """
    tenths = np.asarray(baseline.quantiles)[:: (_POINTS - 1) // _BINS]
    edges = np.unique(tenths[tenths < tenths[-1]])
    if tenths[0] == tenths[-1]:
        edges = np.array([np.nextafter(tenths[0], -np.inf), tenths[0]])
    before = np.diff(baseline.share_up_to(edges), prepend=0.0, append=1.0) * baseline.rows
    after = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(before))
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (after, before))
    return float(((p - q) * np.log(p / q)).sum())


def kolmogorov_smirnov(baseline: Distribution, values: Floats) -> tuple[float, float]:
    """Two-sample distance and its p-value, as scipy's `ks_2samp(method="asymp")` on all of the baseline's rows.

    The baseline is known by its quantiles, so the distance is right within 1/1000. Where values repeat, the true
    p-value is smaller than the one returned.
    """
    places = np.unique(np.concatenate([values, np.asarray(baseline.quantiles)]))
    later = np.searchsorted(np.sort(values), places, side="right") / len(values)
    distance = float(np.abs(later - baseline.share_up_to(places)).max())
    effective = len(values) * baseline.rows / (len(values) + baseline.rows)
    return distance, float(stats.kstwo.sf(distance, max(1, round(effective))))


def holm(p_values: Floats) -> Floats:
    """Adjusted p-values, shape (tests,): reject those under a level, and any false rejection is no likelier than it."""
    order = np.argsort(p_values)
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return adjusted


def mean_shift(baseline: Distribution, values: Floats, confidence: float, seed: int, resamples: int = 2_000) -> Shift:
    """Mean of `values` less the baseline's, with a two-sided percentile bootstrap interval over both samples."""
    before = baseline.rows_like_it(_MOST_BASELINE_ROWS)
    mean, expected = float(values.mean()), float(before.mean())
    if np.ptp(values) == 0.0 and np.ptp(before) == 0.0:
        return Shift(mean, expected, mean - expected, mean - expected)
    interval = stats.bootstrap(
        (values, before),
        lambda later, earlier, axis: later.mean(axis=axis) - earlier.mean(axis=axis),
        n_resamples=resamples,
        batch=100,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Shift(mean, expected, float(interval.low), float(interval.high))
