"""How good a model is: errors in quality points on wines it has not seen, over all and by slice."""

import numpy as np
import numpy.typing as npt

from ml_service.dataset import Floats
from ml_service.wine import COLOURS

BANDS = {"low": (0.0, 4.5), "middle": (4.5, 6.5), "high": (6.5, 10.5)}
"""Observed quality from the first number up to the second."""
_QUALITIES = 11


def metrics(truth: Floats, predicted: Floats, colours: npt.NDArray[np.str_]) -> dict[str, float]:
    """MAE, RMSE (quality points), R², share within half a point, quadratic kappa: over all and, suffixed, by slice.

    Slices are colours (`mae_red`) and bands of observed quality (`mae_high`); of the latter only errors.

    Args:
        truth: shape (cases,), observed qualities.
        predicted: shape (cases,), in the same order.
        colours: shape (cases,), `red` or `white`.
    """
    found = _metrics(truth, predicted)
    for colour in COLOURS:
        chosen = colours == colour
        if chosen.any():
            part = _metrics(truth[chosen], predicted[chosen])
            found |= {f"{name}_{colour}": value for name, value in part.items()}
    for band, (low, high) in BANDS.items():
        chosen = (truth >= low) & (truth < high)
        if chosen.any():
            found |= {f"{name}_{band}": value for name, value in _errors(truth[chosen], predicted[chosen]).items()}
    return found


def _errors(truth: Floats, predicted: Floats) -> dict[str, float]:
    errors = predicted - truth
    return {
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "within_half": float((np.abs(errors) <= 0.5).mean()),
    }


def _metrics(truth: Floats, predicted: Floats) -> dict[str, float]:
    spread = float(((truth - truth.mean()) ** 2).sum())
    found = _errors(truth, predicted)
    # All wines of one quality: these have no meaning, and MLflow refuses to store a NaN as a metric.
    if spread > 0:
        found["r2"] = 1.0 - float(((predicted - truth) ** 2).sum()) / spread
        found["kappa"] = _quadratic_kappa(truth, predicted)
    return found


def _quadratic_kappa(truth: Floats, predicted: Floats) -> float:
    """Cohen's kappa with quadratic weights, of predictions rounded to whole points (Cohen 1968)."""
    rounded = np.clip(np.rint(predicted), 0, _QUALITIES - 1)
    observed = float(((truth - rounded) ** 2).mean())
    # Each of one with each of the other, as if they had nothing to do with each other.
    by_chance = float(truth.var() + rounded.var() + (truth.mean() - rounded.mean()) ** 2)
    return 1.0 - observed / by_chance


def squared_errors(truth: Floats, predicted: Floats) -> Floats:
    """Per-case losses, shape (cases,): what promotion compares."""
    return (predicted - truth) ** 2
