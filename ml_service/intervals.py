"""Prediction intervals by conformal prediction: how far observed qualities were from predictions on unseen wines.

Groups by colour and by predicted quality (Vovk, Lindsay, Nouretdinov, Gammerman 2003, "Mondrian confidence machine"),
each with its own half-width, so that coverage holds in each group and not only on average.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cuvee.errors import IntegrityError
from ml_service.dataset import Floats

LEVEL = 0.9
_EDGES = (1 / 3, 2 / 3)
"""Shares of the predictions below the edges between the bins."""
_LEAST_CASES = 50


@dataclass(frozen=True)
class Intervals:
    """Half-widths, in quality points, by colour and by the bin that a prediction falls into."""

    level: float
    """Share of observed qualities that the interval is made to hold, such as 0.9."""
    edges: tuple[float, ...]
    """Ascending predicted qualities between the bins; bin i is [edges[i-1], edges[i])."""
    red: tuple[float, ...]
    """Half-width in each of the len(edges) + 1 bins."""
    white: tuple[float, ...]

    @classmethod
    def of(cls, truth: Floats, predicted: Floats, is_white: npt.NDArray[np.bool_], level: float = LEVEL) -> "Intervals":
        """From qualities and predictions of wines that the predicting models had not seen, each of shape (cases,).

        Half-widths are the conformal quantile of the absolute residuals, the ceil((n + 1) level)-th smallest of n. A
        group with fewer than `_LEAST_CASES` takes that of all cases.
        """
        edges = np.unique(np.quantile(predicted, _EDGES))
        residuals, bins = np.abs(truth - predicted), np.searchsorted(edges, predicted, side="right")
        overall = _conformal(residuals, level)
        widths = [
            tuple(
                _conformal(residuals[chosen], level) if chosen.sum() >= _LEAST_CASES else overall
                for chosen in ((is_white == white) & (bins == number) for number in range(len(edges) + 1))
            )
            for white in (False, True)
        ]
        return cls(level, tuple(float(edge) for edge in edges), widths[0], widths[1])

    def around(self, predicted: Floats, is_white: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Lower and upper ends, each of shape (samples,), for predictions of shape (samples,)."""
        bins = np.searchsorted(self.edges, predicted, side="right")
        half = np.where(is_white, np.asarray(self.white)[bins], np.asarray(self.red)[bins])
        return predicted - half, predicted + half

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: Any) -> "Intervals":
        """Raises IntegrityError when this is no such table."""
        try:
            made = cls(
                float(found["level"]),
                *(tuple(float(value) for value in found[name]) for name in ("edges", "red", "white")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"These are no prediction intervals: {error!r}.") from error
        if not len(made.red) == len(made.white) == len(made.edges) + 1:
            raise IntegrityError("These are no prediction intervals: a half-width is missing or too many.")
        return made


def _conformal(residuals: Floats, level: float) -> float:
    rank = min(int(np.ceil((len(residuals) + 1) * level)), len(residuals))
    return float(np.sort(residuals)[rank - 1])
