"""How good a model is: errors in quality points on wines it has not seen, by colour, and plots of them."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_service.dataset import Floats
from ml_service.wine import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def metrics(truth: Floats, predicted: Floats, colours: npt.NDArray[np.str_]) -> dict[str, float]:
    """MAE, RMSE (quality points), R² and the share within half a point: over all, and by colour with a suffix.

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
    return found


def _metrics(truth: Floats, predicted: Floats) -> dict[str, float]:
    errors = predicted - truth
    found = {
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "within_half": float((np.abs(errors) <= 0.5).mean()),
    }
    spread = float(((truth - truth.mean()) ** 2).sum())
    # All wines of one quality: R² has no meaning, and MLflow refuses to store a NaN as a metric.
    return found | ({"r2": 1.0 - float((errors**2).sum()) / spread} if spread > 0 else {})


def squared_errors(truth: Floats, predicted: Floats) -> Floats:
    """Per-case losses, shape (cases,): what promotion compares."""
    return (predicted - truth) ** 2


def plots(
    model: Any, inputs: pd.DataFrame, truth: Floats, predicted: Floats, colours: npt.NDArray[np.str_]
) -> "dict[str, Figure]":
    """Parity, residuals and permutation importance, by file name."""
    return {
        "parity.png": _parity(truth, predicted, colours),
        "residuals.png": _residuals(truth, predicted),
        "importance.png": _importance(model, inputs, truth),
    }


def _figure(title: str, x: str, y: str) -> "tuple[Figure, Any]":
    # A Figure of its own needs no display and leaves no global state, unlike pyplot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes


def _parity(truth: Floats, predicted: Floats, colours: npt.NDArray[np.str_]) -> "Figure":
    figure, axes = _figure("Predicted and observed quality (test wines)", "observed", "predicted")
    # Qualities are whole numbers: without a little jitter the points hide each other.
    jitter = np.random.default_rng(0).uniform(-0.25, 0.25, len(truth))
    for colour, shade in zip(COLOURS, ("tab:red", "tab:olive"), strict=True):
        chosen = colours == colour
        axes.scatter((truth + jitter)[chosen], predicted[chosen], s=8, alpha=0.5, c=shade, label=colour)
    ends = [float(truth.min()) - 0.5, float(truth.max()) + 0.5]
    axes.plot(ends, ends, color="black", linewidth=1)
    axes.legend()
    return figure


def _residuals(truth: Floats, predicted: Floats) -> "Figure":
    figure, axes = _figure("Residuals (test wines)", "predicted - observed, quality points", "wines")
    axes.hist(predicted - truth, bins=40, color="tab:blue")
    axes.axvline(0.0, color="black", linewidth=1)
    return figure


def _importance(model: Any, inputs: pd.DataFrame, truth: Floats) -> "Figure":
    from sklearn.inspection import permutation_importance

    found = permutation_importance(
        model, inputs, truth, scoring="neg_root_mean_squared_error", n_repeats=3, random_state=0
    )
    order = np.argsort(found.importances_mean)
    figure, axes = _figure("Permutation importance (test wines)", "RMSE lost when shuffled, quality points", "")
    axes.barh(inputs.columns[order], found.importances_mean[order], xerr=found.importances_std[order])
    return figure
