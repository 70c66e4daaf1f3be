"""What data looked like when a model was trained: small enough to travel with it and be compared with later data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cuvee.errors import IntegrityError

_POINTS = 1001


@dataclass(frozen=True)
class Distribution:
    """One column: how many rows, and quantiles at `_POINTS` even steps from smallest to largest."""

    rows: int
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> "Distribution":
        """Of finite values, shape (rows,), at least one."""
        points = np.quantile(values, np.linspace(0, 1, _POINTS), method="inverted_cdf")
        return cls(len(values), tuple(float(point) for point in points))


@dataclass(frozen=True)
class Profile:
    """Distributions by column name."""

    columns: Mapping[str, Distribution]

    @classmethod
    def of(cls, columns: Mapping[str, npt.NDArray[np.float64]]) -> "Profile":
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
