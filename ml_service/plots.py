"""Plots of how good a model is, for its MLflow run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_service.dataset import Floats
from ml_service.wine import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plots(
    model: Any,
    inputs: pd.DataFrame,
    truth: Floats,
    predicted: Floats,
    colours: npt.NDArray[np.str_],
    coverage: Mapping[float, float],
) -> "dict[str, Figure]":
    """Parity, residuals by quality, permutation importance and calibration of the interval, by file name.

    Args:
        model: what `predicted` came from.
        inputs: of the test wines.
        truth: their qualities, shape (cases,).
        predicted: shape (cases,).
        colours: shape (cases,).
        coverage: by the level that an interval is made for, the share of qualities it held.
    """
    return {
        "parity.png": _parity(truth, predicted, colours),
        "residuals.png": _residuals(truth, predicted),
        "importance.png": _importance(model, inputs, truth),
        "calibration.png": _calibration(coverage),
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
    figure, axes = _figure("Residuals by quality (test wines)", "observed", "predicted - observed, quality points")
    qualities = np.unique(truth)
    axes.boxplot([(predicted - truth)[truth == quality] for quality in qualities], positions=qualities)
    axes.axhline(0.0, color="black", linewidth=1)
    return figure


def _calibration(coverage: Mapping[float, float]) -> "Figure":
    figure, axes = _figure("Calibration of the interval (test wines)", "level it is made for", "share it holds")
    axes.plot([0, 1], [0, 1], color="black", linewidth=1)
    axes.plot(list(coverage), list(coverage.values()), marker="o")
    return figure


def _importance(model: Any, inputs: pd.DataFrame, truth: Floats) -> "Figure":
    from joblib import parallel_config
    from sklearn.inspection import permutation_importance

    with parallel_config("threading", n_jobs=-1):  # processes would import everything again
        found = permutation_importance(
            model, inputs, truth, scoring="neg_root_mean_squared_error", n_repeats=3, random_state=0
        )
    order = np.argsort(found.importances_mean)
    figure, axes = _figure("Permutation importance (test wines)", "RMSE lost when shuffled, quality points", "")
    axes.barh(inputs.columns[order], found.importances_mean[order], xerr=found.importances_std[order])
    return figure
