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
