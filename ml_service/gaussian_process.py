"""Gaussian process regression with length-scales set in advance: smooth where forests are steps.

The kernel is the sum of two products over the inputs, of squared exponentials and of exponentials, each input with a
length-scale of its own (Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", section 5.1). Qualities
err by Student's t, so that a few odd tastings move little (Vanhatalo, Jylänki and Vehtari 2009, "Gaussian process
regression with Student-t likelihood"); the posterior's mode is found by iteratively reweighted least squares. What is
set here was learnt once from the wines that the project carries: docs/adr/0013-gaussian-process-in-the-blend.md.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

Floats = npt.NDArray[np.float64]

LOGARITHMS = (1, 3, 4, 5, 6, 9)
"""Columns with a long tail to the right, of which the logarithm is taken."""
SMOOTH_SCALES = (41.27, 5.93, 51.53, 5.28, 8.55, 3.27, 3.86, 4.49, 6.58, 4.38, 4.0, 3.24)
ROUGH_SCALES = (1.36, 1.26, 1.65, 4.5, 4.36, 1.43, 1.6, 21.74, 1.53, 2.45, 2.06, 0.31)
"""Length-scales of the columns of `INPUT_COLUMNS`, in standard deviations of the column."""
SMOOTH_VARIANCE, ROUGH_VARIANCE = 0.99, 0.21
"""In variances of the quality, as the noise."""
NOISE, DEGREES_OF_FREEDOM = 0.14, 1.5
"""Squared scale and degrees of freedom of the t distribution of what tasters differ by."""

_ROUNDS = 3
"""Of reweighting: more come nearer to the mode, and predict no better."""
_NEAR_ZERO = 1e-3
_LEAST_WEIGHT = 1e-6
"""Of the heaviest row's: lighter rows still have a noise that is a number, and can still be drawn."""
_BLOCK_ROWS = 512


@dataclass(frozen=True, eq=False)
class Posterior:
    """mean + sum over the points of weight x kernel; everything that predicting needs, as plain arrays."""

    mean: float
    """Of the training rows, quality points."""
    logarithms: npt.NDArray[np.int64]
    """Columns of which the logarithm is taken."""
    centre: Floats
    """Of the inputs after that, as `scale`; shape (columns,)."""
    scale: Floats
    points: Floats
    """Training rows, so scaled, shape (points, columns)."""
    weights: Floats
    """Of the points, shape (points,), quality points."""
    length_scales: Floats
    """Of the smooth and the rough kernel, shape (2, columns)."""
    variances: Floats
    """Of the two, shape (2,)."""

    def predict(self, inputs: Floats) -> Floats:
        """Qualities, shape (rows,), of inputs of shape (rows, columns)."""
        rows = self.scaled(inputs) / self.length_scales[:, None]
        blocks = [rows[:, start : start + _BLOCK_ROWS] for start in range(0, len(inputs), _BLOCK_ROWS)]
        kernels = (kernel(block, self._points, self.variances) for block in blocks)
        return self.mean + np.concatenate([one @ self.weights for one in kernels])

    @cached_property
    def _points(self) -> Floats:
        return self.points / self.length_scales[:, None]

    def scaled(self, inputs: Floats) -> Floats:
        return (logarithms(inputs, self.logarithms) - self.centre) / self.scale


class GaussianProcess(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """For the columns of `INPUT_COLUMNS`; the fields of its `Posterior`, with a `_` behind their names, are fitted.

    Of more than `most_rows` training rows as many are drawn, by their weights: the time to fit grows with their cube,
    that to predict in proportion to them. A stored model stays what it was when the constants of this module change.
    """

    def __init__(self, most_rows: int = 6_000, random_state: int = 0) -> None:
        self.most_rows = most_rows
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "GaussianProcess":  # noqa: N803
        """A row of half the weight of the heaviest has twice its noise."""
        inputs, quality = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        weight = np.ones(len(quality)) if sample_weight is None else np.asarray(sample_weight, float)
        weight = np.maximum(weight / weight.max(), _LEAST_WEIGHT)
        if len(quality) > self.most_rows:
            draws = np.random.default_rng(self.random_state)
            drawn = draws.choice(len(quality), self.most_rows, replace=False, p=weight / weight.sum())
            inputs, quality, weight = inputs[drawn], quality[drawn], np.ones(self.most_rows)
        self.mean_ = float(np.average(quality, weights=weight))
        spread = float(np.sqrt(np.average((quality - self.mean_) ** 2, weights=weight))) or 1.0
        self.logarithms_ = np.array(LOGARITHMS)
        seen = logarithms(inputs, self.logarithms_)
        self.centre_, self.scale_ = seen.mean(axis=0), seen.std(axis=0)
        self.scale_[self.scale_ == 0] = 1.0
        self.points_ = (seen - self.centre_) / self.scale_
        self.length_scales_ = np.array([SMOOTH_SCALES, ROUGH_SCALES])
        self.variances_ = np.array([SMOOTH_VARIANCE, ROUGH_VARIANCE])
        points = self.points_ / self.length_scales_[:, None]
        covariance = kernel(points, points, self.variances_)
        wanted, usual = (quality - self.mean_) / spread, NOISE / weight
        noise = usual
        for _ in range(_ROUNDS):
            # Symmetric, so this is the same in the order that LAPACK takes.
            noisy = covariance.T.copy("K")
            noisy[np.diag_indices_from(noisy)] += noise
            factor = cho_factor(noisy, lower=True, overwrite_a=True, check_finite=False)
            solved = cho_solve(factor, wanted, check_finite=False)
            residuals = noise * solved
            noise = (DEGREES_OF_FREEDOM * usual + residuals**2) / (DEGREES_OF_FREEDOM + 1)
        self.weights_ = spread * solved
        return self

    def predict(self, X: Any) -> Floats:  # noqa: N803
        """Qualities, shape (rows,)."""
        return self.posterior().predict(validate_data(self, X, dtype=np.float64, reset=False))

    def posterior(self) -> Posterior:
        """Raises NotFittedError before `fit`."""
        check_is_fitted(self)
        return Posterior(**{field.name: getattr(self, f"{field.name}_") for field in fields(Posterior)})


def logarithms(inputs: Floats, columns: npt.NDArray[np.int64]) -> Floats:
    """Inputs, shape (rows, columns), with the logarithm in place of these columns."""
    seen = inputs.copy()
    seen[:, columns] = np.log(np.maximum(inputs[:, columns], 0) + _NEAR_ZERO)
    return seen


def kernel(rows: Floats, points: Floats, variances: Floats) -> Floats:
    """Shape (rows, points), of scaled inputs in length-scales of the two kernels: (2, rows or points, columns)."""
    found = _decayed(cdist(rows[0], points[0], "sqeuclidean"), -0.5, variances[0])
    found += _decayed(cdist(rows[1], points[1], "cityblock"), -1.0, variances[1])
    return found


def _decayed(distances: Floats, rate: float, variance: float) -> Floats:
    """variance x exp(rate x distances), in their place: a hundred megabytes for some thousand wines."""
    distances *= rate
    np.exp(distances, out=distances)
    distances *= variance
    return distances
