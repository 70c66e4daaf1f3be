"""Compiled inference: the trees of a model in ONNX Runtime, lines and Gaussian processes in numpy.

Why not LightGBM's, XGBoost's or Treelite's predictor: docs/adr/0012-compiled-inference.md.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ml_service.dataset import Floats
from ml_service.trees import Part, Tree, parts

_BATCH_NODES = 5_000
"""Of the trees that one operator holds for batches: few enough that a core's cache holds them, and its guesses of the
way, while all rows go through them. For one row, one operator with all trees is fastest."""
BATCH_ROWS = 1_000
"""From here on rows are sorted and shared out among the cores, and go through graphs of their own."""
_workers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="inference")


@dataclass(frozen=True, eq=False)
class _Forest:
    """The trees of a part as one ONNX graph."""

    part: Part
    session: onnxruntime.InferenceSession
    mirrored: bool = False
    """Whether the graph asks for -x beside x: see `_likelier_beside`."""

    def predict(self, inputs: Floats) -> Floats:
        x = self.part.seen_by_trees(inputs)
        answer: Floats = self.session.run(None, {"x": np.hstack((x, -x)) if self.mirrored else x})[0][:, 0]
        return answer


class Compiled:
    """A model that answers as the training library does, within 1e-5; may be called from any thread."""

    def __init__(self, model: Any, columns: int) -> None:
        """Raises IntegrityError when the model is of a kind that cannot be compiled."""
        self.parts = parts(model, columns)
        self._base = sum(part.base for part in self.parts)
        self._lines = [part for part in self.parts if part.slopes.any()]
        self._posteriors = [(part, part.posterior) for part in self.parts if part.posterior is not None]
        forests = [part for part in self.parts if part.trees]
        self._forests = [_Forest(part, _session([part.trees], columns)) for part in forests]
        self._batch_forests = [_batch_forest(part, columns) for part in forests]
        self._sorter = _session([(_numbering(forests[0].trees[0]),)], columns) if forests else None

    def predict(self, inputs: Floats) -> Floats:
        """Qualities, shape (rows,), of inputs of shape (rows, columns)."""
        if len(inputs) < BATCH_ROWS or not self._forests:
            return self._predict(inputs, self._forests)
        # Rows that end in the same leaf of the first tree go alike through the others too: one after the other, a core
        # guesses its way better.
        order = np.argsort(_shared_out(self._leaf, inputs), kind="stable")
        predicted = np.empty(len(inputs))
        sorted_inputs = np.take(inputs, order, axis=0)
        predicted[order] = _shared_out(lambda block: self._predict(block, self._batch_forests), sorted_inputs)
        return predicted

    def _leaf(self, inputs: Floats) -> npt.NDArray[np.int32 | np.uint16]:
        """In which leaf of the first tree each row ends."""
        assert self._sorter is not None
        part = self._forests[0].part
        leaf: Floats = self._sorter.run(None, {"x": part.seen_by_trees(inputs)})[0][:, 0]
        # Few bits are sorted by radix.
        return leaf.astype(np.uint16 if part.trees[0].is_leaf.sum() < 65_536 else np.int32)

    def _predict(self, inputs: Floats, forests: Sequence[_Forest]) -> Floats:
        predicted = np.full(len(inputs), self._base)
        for part in self._lines:
            predicted += part.scaled(inputs) @ part.slopes
        for part, posterior in self._posteriors:
            predicted += part.weight * posterior.predict(part.scaled(inputs))
        for forest in forests:
            predicted += forest.predict(inputs)
        return predicted


def _batch_forest(part: Part, columns: int) -> _Forest:
    trees = tuple(_likelier_beside(tree, columns) for tree in part.trees)
    return _Forest(part, _session(list(_chunks(trees)), 2 * columns), mirrored=True)


def _likelier_beside(tree: Tree, columns: int) -> Tree:
    """The same tree of (x, -x), where the false branch is the one that more training rows took.

    ONNX Runtime keeps the false branch next to its node in memory. So most rows go straight on, and a core, which bets
    that things go on as they did, loses less often. Where left is the likelier side, x > t is asked, as -x < -t.
    """
    inner = ~tree.is_leaf
    swapped = inner & (tree.rows[tree.left] > tree.rows[tree.right])
    return replace(
        tree,
        left=np.where(swapped, tree.right, tree.left),
        right=np.where(swapped, tree.left, tree.right),
        feature=np.where(swapped, tree.feature + columns, tree.feature),
        threshold=np.where(swapped, np.nextafter(-tree.threshold, -np.inf), tree.threshold),
    )


def _shared_out(work: Callable[[Floats], npt.NDArray[Any]], inputs: Floats) -> npt.NDArray[Any]:
    """`work` on all rows, a block of them on each core; in their order."""
    return np.concatenate(list(_workers.map(work, np.array_split(inputs, _workers._max_workers))))


def _numbering(tree: Tree) -> Tree:
    """The same tree, but its leaves say which of them they are."""
    return replace(tree, value=np.cumsum(tree.is_leaf).astype(np.float64))


def _session(operated: Sequence[Sequence[Tree]], columns: int) -> onnxruntime.InferenceSession:
    """The sum over all trees; each of `operated` is what one operator holds."""
    operators, names = [], []
    for number, chosen in enumerate(operated):
        names.append(f"y{number}")
        operators.append(_operator(chosen, names[-1]))
    operators.append(helper.make_node("Sum", names, ["y"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, n]) for name, n in (("x", columns), ("y", 1))
    ]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    graph = helper.make_graph(operators, "forest", ends[:1], ends[1:])
    made: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    # One thread: a service answers many small requests, and batches are shared out by `_workers`.
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _chunks(trees: tuple[Tree, ...]) -> Iterator[list[Tree]]:
    chunk: list[Tree] = []
    for tree in trees:
        if chunk and sum(len(one.left) for one in chunk) + len(tree.left) > _BATCH_NODES:
            yield chunk
            chunk = []
        chunk.append(tree)
    yield chunk


def _operator(trees: Sequence[Tree], output: str) -> Any:
    """One `TreeEnsemble` (ai.onnx.ml 5), which numbers inner nodes and leaves apart."""
    columns: dict[str, list[npt.NDArray[Any]]] = {}
    roots, inner_before, leaves_before = [], 0, 0
    for tree in trees:
        roots.append(inner_before)
        made = _numbered(tree, inner_before, leaves_before)
        for name, values in made.items():
            columns.setdefault(name, []).append(values)
        inner_before += len(made["nodes_splits"])
        leaves_before += len(made["leaf_weights"])
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    tensors = {name: numpy_helper.from_array(joined.pop(name), name) for name in ("nodes_splits", "leaf_weights")}
    tensors["nodes_modes"] = numpy_helper.from_array(np.zeros(inner_before, np.uint8), "nodes_modes")
    node = helper.make_node(
        "TreeEnsemble", ["x"], [output], domain="ai.onnx.ml", n_targets=1, aggregate_function=1, **tensors
    )
    joined |= {"tree_roots": np.array(roots), "leaf_targetids": np.zeros(leaves_before, np.int64)}
    for name, values in joined.items():
        # Not by `make_node`, which looks at each of a million numbers by itself.
        attribute = node.attribute.add(name=name, type=7)
        attribute.ints.extend(values.tolist())
    return node


def _numbered(tree: Tree, inner_before: int, leaves_before: int) -> dict[str, npt.NDArray[Any]]:
    leaf = tree.is_leaf
    number = np.where(leaf, leaves_before + np.cumsum(leaf) - 1, inner_before + np.cumsum(~leaf) - 1)
    inner = np.flatnonzero(~leaf)
    left, right = tree.left[inner], tree.right[inner]
    feature, split = tree.feature[inner], tree.threshold[inner]
    if not len(inner):
        # A tree that is one leaf: a node whose branches both end in it.
        left = right = feature = np.zeros(1, np.int64)
        split = np.zeros(1)
    return {
        "nodes_featureids": feature,
        "nodes_splits": split.astype(np.float64),
        "nodes_truenodeids": number[left],
        "nodes_trueleafs": leaf[left].astype(np.int64),
        "nodes_falsenodeids": number[right],
        "nodes_falseleafs": leaf[right].astype(np.int64),
        "leaf_weights": tree.value[leaf].astype(np.float64),
    }
