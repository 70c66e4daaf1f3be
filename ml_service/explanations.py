"""Why a prediction is what it is: what each input adds to the base value, in quality points.

Trees by TreeSHAP (Lundberg et al. 2020, "From local explanations to global understanding with explainable AI for
trees"), the path-dependent form, as LightGBM computes it; linear parts by slope times distance from the mean; Gaussian
processes by Shapley values for inputs that are drawn independently of each other from the training rows.
"""

from dataclasses import dataclass

import lightgbm
import numpy as np

from ml_service.dataset import Floats
from ml_service.gaussian_process import Posterior
from ml_service.trees import Part, Tree

_BACKGROUND_ROWS = 500
"""Of a Gaussian process, about so many stand for all when an input is left out."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """base (rows,) plus the sum of contributions (rows, columns) is the prediction, all in quality points."""

    base: Floats
    contributions: Floats


class Explainer:
    """Explains the model that these parts add up to; takes seconds to make for a large forest."""

    def __init__(self, parts: list[Part], columns: int) -> None:
        self._parts = parts
        self._boosters = [_booster(part.trees, columns) if part.trees else None for part in parts]
        self._processes = [_Process(part.posterior) if part.posterior else None for part in parts]

    def explain(self, inputs: Floats) -> Explanation:
        """Of inputs of shape (rows, columns); a row through a hundred deep trees takes tens of milliseconds."""
        base, contributions = np.zeros(len(inputs)), np.zeros(inputs.shape)
        for part, booster, process in zip(self._parts, self._boosters, self._processes, strict=True):
            contributions += part.scaled(inputs) * part.slopes
            base += part.base
            if booster is not None:
                found = np.asarray(booster.predict(part.seen_by_trees(inputs), pred_contrib=True, num_threads=1))
                contributions += found[:, :-1]
                base += found[:, -1]
            if process is not None:
                base += part.weight * process.base
                contributions += part.weight * process.contributions(part.scaled(inputs))
        return Explanation(base, contributions)


class _Process:
    """Shapley values of a sum of products over the inputs, which are exact at little cost.

    Leaving an input out puts its factor's mean over the training rows in its place. The multilinear extension of such a
    game (Owen 1972, "Multilinear extensions of games") is a polynomial in the share of inputs that are in: its integral
    over Gauss-Legendre nodes, half as many as inputs, is no approximation.
    """

    def __init__(self, posterior: Posterior) -> None:
        self._posterior = posterior
        rows = posterior.points[:: max(1, len(posterior.points) // _BACKGROUND_ROWS)]
        means = [np.mean([self._factors(number, row) for row in rows], axis=0) for number in range(2)]
        self._means = np.array(means)
        weights = posterior.variances[:, None] * posterior.weights
        self.base = posterior.mean + float((weights * self._means.prod(axis=2)).sum())

    def contributions(self, inputs: Floats) -> Floats:
        """Shape (rows, columns)."""
        return np.array([self._contributions(row) for row in self._posterior.scaled(inputs)])

    def _contributions(self, row: Floats) -> Floats:
        nodes, node_weights = np.polynomial.legendre.leggauss((len(row) + 1) // 2)
        found = np.zeros(len(row))
        for number, means in enumerate(self._means):
            factors = self._factors(number, row)
            weights = self._posterior.variances[number] * self._posterior.weights
            for share, node_weight in zip((nodes + 1) / 2, node_weights / 2, strict=True):
                mixed = means + share * (factors - means)
                others = mixed.prod(axis=1, keepdims=True) / mixed
                found += node_weight * (weights @ ((factors - means) * others))
        return found

    def _factors(self, number: int, row: Floats) -> Floats:
        """Of the smooth (0) or the rough (1) kernel between a scaled row and each point, shape (points, columns)."""
        distances = np.abs(row - self._posterior.points) / self._posterior.length_scales[number]
        factors: Floats = np.exp(-0.5 * distances**2 if number == 0 else -distances)
        return factors


def _booster(trees: tuple[Tree, ...], columns: int) -> lightgbm.Booster:
    """The trees in LightGBM's text format (version 4), as its own `save_model` writes it."""
    blocks = [_block(number, tree) for number, tree in enumerate(trees)]
    head = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={columns - 1}",
        "objective=regression",
        "feature_names=" + " ".join(f"x{number}" for number in range(columns)),
        "feature_infos=" + " ".join(["[-1e300:1e300]"] * columns),
        "tree_sizes=" + " ".join(str(len(block)) for block in blocks),
    ]
    return lightgbm.Booster(model_str="\n".join(head) + "\n\n" + "".join(blocks) + "end of trees\n")


def _block(number: int, tree: Tree) -> str:
    leaf = tree.is_leaf
    inner = ~leaf
    # Leaves are numbered -1, -2, ...; inner nodes from 0.
    name = np.where(leaf, -1 * np.cumsum(leaf), np.cumsum(inner) - 1)
    # LightGBM weighs branches by their rows, whole numbers; bootstrap counts are whole, and weights keep three digits.
    scale = 1 if np.all(tree.rows == np.round(tree.rows)) else 1000
    rows = np.maximum(np.round(tree.rows * scale), 1).astype(np.int64)
    lines = {"num_leaves": [int(leaf.sum())], "num_cat": [0]}
    if inner.any():
        lines |= {
            "split_feature": tree.feature[inner].tolist(),
            "split_gain": [0] * int(inner.sum()),
            "threshold": tree.threshold[inner].tolist(),
            # 2: numerical, <= goes left, no value is missing.
            "decision_type": [2] * int(inner.sum()),
            "left_child": name[tree.left[inner]].tolist(),
            "right_child": name[tree.right[inner]].tolist(),
        }
    lines |= {"leaf_value": tree.value[leaf].tolist()}
    lines |= {"leaf_weight": rows[leaf].tolist(), "leaf_count": rows[leaf].tolist()}
    if inner.any():
        lines |= {"internal_value": tree.value[inner].tolist(), "internal_weight": rows[inner].tolist()}
        lines |= {"internal_count": rows[inner].tolist()}
    lines |= {"is_linear": [0], "shrinkage": [1]}
    text = "\n".join(f"{key}={' '.join(map(repr, values))}" for key, values in lines.items())
    return f"Tree={number}\n{text}\n\n\n"
