"""A fitted model as plain arrays: lines, trees and Gaussian processes, what compiling and explaining start from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from cuvee.errors import IntegrityError
from ml_service.dataset import Floats
from ml_service.gaussian_process import GaussianProcess, Posterior

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree, arrays of shape (nodes,); node 0 is the root. x[feature] <= threshold goes left."""

    left: Ints
    """Node number, -1 in a leaf."""
    right: Ints
    feature: Ints
    threshold: Floats
    value: Floats
    """What a leaf adds to the prediction."""
    rows: Floats
    """Training rows that came by."""

    @property
    def is_leaf(self) -> npt.NDArray[np.bool_]:
        return self.left < 0


@dataclass(frozen=True, eq=False)
class Part:
    """base + slopes · x + trees(x) + weight · posterior(x), for x = (inputs - centre) / scale.

    Arrays have the shape (12,).
    """

    base: float
    slopes: Floats
    trees: tuple[Tree, ...]
    centre: Floats
    scale: Floats
    single: bool
    """Whether trees see x rounded to 32 bits, as scikit-learn's forests do."""
    posterior: Posterior | None = None
    weight: float = 1.0

    @cached_property
    def _is_scaled(self) -> bool:
        return bool(self.centre.any() or (self.scale != 1).any())

    def scaled(self, inputs: Floats) -> Floats:
        return (inputs - self.centre) / self.scale

    def seen_by_trees(self, inputs: Floats) -> Floats:
        """The x that splits are compared with, C-contiguous."""
        x = self.scaled(inputs) if self._is_scaled else inputs
        return np.ascontiguousarray(x.astype(np.float32) if self.single else x, dtype=np.float64)


def parts(model: Any, columns: int) -> list[Part]:
    """The parts whose sum is the model.

    Raises:
        IntegrityError: it is of a kind that cannot be compiled.
    """
    return list(_parts(model, _Frame(1.0, np.zeros(columns), np.ones(columns))))


@dataclass(frozen=True, eq=False)
class _Frame:
    """What stands around a model: its weight in the sum, and how its inputs were scaled."""

    weight: float
    centre: Floats
    scale: Floats


def _parts(model: Any, frame: _Frame) -> Iterator[Part]:
    if isinstance(model, Pipeline):
        for _, step in model.steps[:-1]:
            frame = _scaled(step, frame)
        yield from _parts(model.steps[-1][1], frame)
    elif isinstance(model, VotingRegressor):
        weights = np.ones(len(model.estimators_)) if model.weights is None else np.asarray(model.weights, float)
        for share, estimator in zip(weights / weights.sum(), model.estimators_, strict=True):
            yield from _parts(estimator, replace(frame, weight=frame.weight * float(share)))
    elif isinstance(model, Ridge | LinearRegression | Lasso | ElasticNet):
        slopes = frame.weight * np.ravel(model.coef_)
        yield Part(frame.weight * float(np.ravel(model.intercept_)[0]), slopes, (), frame.centre, frame.scale, False)
    elif isinstance(model, GaussianProcess):
        none, place = np.zeros_like(frame.centre), (frame.centre, frame.scale)
        yield Part(0.0, none, (), *place, single=False, posterior=model.posterior(), weight=frame.weight)
    else:
        base, trees, single = _forest(model)
        weighted = tuple(replace(tree, value=tree.value * frame.weight) for tree in trees)
        yield Part(frame.weight * base, np.zeros_like(frame.centre), weighted, frame.centre, frame.scale, single)


def _scaled(step: Any, frame: _Frame) -> _Frame:
    if step in (None, "passthrough"):
        return frame
    if not isinstance(step, StandardScaler):
        raise IntegrityError(f"A model with the step {type(step).__name__} cannot be compiled; scale, or leave it out.")
    centre = step.mean_ if step.mean_ is not None and step.with_mean else 0.0
    scale = step.scale_ if step.scale_ is not None else 1.0
    return replace(frame, centre=frame.centre + frame.scale * centre, scale=frame.scale * scale)


def _forest(model: Any) -> tuple[float, list[Tree], bool]:
    """Base, trees and whether inputs are rounded."""
    if isinstance(model, RandomForestRegressor | ExtraTreesRegressor):
        share = 1 / len(model.estimators_)
        return 0.0, [_tree(one, share) for one in model.estimators_], True
    if isinstance(model, DecisionTreeRegressor):
        return 0.0, [_tree(model, 1.0)], True
    if isinstance(model, GradientBoostingRegressor):
        base = 0.0 if model.init == "zero" else float(np.ravel(model.init_.constant_)[0])
        return base, [_tree(one, model.learning_rate) for one in model.estimators_[:, 0]], True
    if isinstance(model, HistGradientBoostingRegressor) and not model.is_categorical_:
        grown = [_grown(one.nodes) for (one,) in model._predictors]
        return float(np.ravel(model._baseline_prediction)[0]), grown, False
    raise IntegrityError(
        f"A {type(model).__name__} cannot be compiled; serve a linear model, trees or a GaussianProcess."
    )


def _tree(fitted: DecisionTreeRegressor, factor: float) -> Tree:
    nodes = fitted.tree_
    return Tree(
        left=nodes.children_left,
        right=nodes.children_right,
        feature=nodes.feature,
        threshold=nodes.threshold,
        value=factor * nodes.value.reshape(-1),
        rows=nodes.weighted_n_node_samples,
    )


def _grown(nodes: Any) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    if nodes["is_categorical"].any():
        raise IntegrityError("A boosting with categorical splits cannot be compiled.")
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=np.where(leaf, -2, nodes["feature_idx"]).astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        value=nodes["value"].astype(np.float64),
        rows=nodes["count"].astype(np.float64),
    )
