"""Vectors in groups around centroids, in 8 bits: how many groups there are, how they are built, how many a search sees.

Measured in docs/adr/0009-leaving-one-machine.md. A scan of all groups takes a quarter of the time of FAISS's Flat scan,
so the rules prefer looking at more rows than needed to missing one. What a scan finds is ranked by its vectors in fp16.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

QUANTIZER = faiss.ScalarQuantizer.QT_8bit_direct_signed
_BATCH_ROWS = 16_384
_ROWS_PER_GROUP = 400
_MOST_GROUPS = 4_096
_SAMPLE_PER_GROUP = 40
_ROUNDS = 8

_QUERIES = 64
_QUERY_COSINE = 0.7
"""Of a measuring query and the vector it is made of; a question and its passage are about as near."""
_DEPTH = 100
_LEAST_RECALL = {10: 0.995, _DEPTH: 0.97}

_ROWS_ALWAYS_SEEN = 25_000
"""1 ms of scanning at most, spent on every search: most of what a measurement on other queries may have missed."""
_ROWS_SEEN_OF_FEW = 50_000
"""Where only so many rows are alive, all of them are looked at: a filter often keeps what is far from the query."""


def build(batches: Iterable[NDArray[np.float32]], count: int, dimension: int, halves: Path) -> Any:
    """A FAISS index of `count` vectors in 8 bits; `halves` is written, the same in fp16, row by row."""
    largest = 0.0
    with halves.open("wb") as stream:
        for batch in batches:
            packed = batch.astype(np.float16)
            largest = max(largest, float(np.abs(packed).max()))
            stream.write(packed.data)
    vectors = np.memmap(halves, dtype=np.float16, mode="r", shape=(count, dimension))
    index = _trained(vectors, largest)
    _add(index, vectors, largest)
    index.nprobe = _measured_probes(index, vectors)
    return index


def quantized(vectors: NDArray[Any], largest: float | None = None) -> NDArray[np.float32]:
    """Whole numbers of -127 to 127, in proportion to the vectors; `largest` is the number that becomes 127.

    FAISS multiplies such as 8-bit integers: twice as fast as fp16. Of unit vectors of 384 numbers the products err by
    0.001 (one standard deviation), so what is found is compared again.
    """
    numbers = vectors.astype(np.float32)
    most = float(np.abs(numbers).max()) if largest is None else largest
    return np.asarray(np.rint(numbers * (127 / max(most, 1e-30))), dtype=np.float32)


def candidates(count: int) -> int:
    """How many of the best by 8 bits hold the `count` best."""
    return 2 * count + 40


def probes(index: Any, count: int, living: int) -> int:
    """Groups to look at for the `count` best of `living` rows."""
    rows, groups = int(index.ntotal), int(index.nlist)
    if living <= _ROWS_SEEN_OF_FEW and living < 0.8 * rows:
        return groups
    # The count-th best of some rows stands as deep among all rows as there are rows for each of them.
    depth = count * rows / max(living, 1)
    measured = index.nprobe * max(1.0, depth / _DEPTH) ** 0.5
    always = groups * _ROWS_ALWAYS_SEEN / max(rows, 1)
    return max(1, min(groups, int(np.ceil(max(measured, always)))))


def slices(vectors: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return (vectors[first : first + _BATCH_ROWS] for first in range(0, len(vectors), _BATCH_ROWS))


def _trained(vectors: NDArray[np.float16], largest: float) -> Any:
    count, dimension = vectors.shape
    groups = min(_MOST_GROUPS, 1 << round(np.log2(count / _ROWS_PER_GROUP)))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension),
        dimension,
        groups,
        QUANTIZER,
        faiss.METRIC_INNER_PRODUCT,
        False,  # the vectors themselves, not their distance from the centroid
    )
    index.cp.niter = _ROUNDS
    sample = min(count, _SAMPLE_PER_GROUP * groups)
    chosen = np.sort(np.random.default_rng(0).choice(count, sample, replace=False))
    index.train(quantized(vectors[chosen], largest))
    return index


def _add(index: Any, vectors: NDArray[np.float16], largest: float) -> None:
    """Group after group, so that no group's memory grows by doubling: that took 3 GB more for a million vectors."""
    group = np.empty(len(vectors), dtype=np.int64)
    for first in range(0, len(vectors), _BATCH_ROWS):
        batch = quantized(vectors[first : first + _BATCH_ROWS], largest)
        group[first : first + len(batch)] = index.quantizer.assign(batch, 1)[:, 0]
    order = np.argsort(group, kind="stable")
    for rows in slices(order):
        batch, groups = quantized(vectors[rows], largest), group[rows]
        index.add_core(len(rows), *map(faiss.swig_ptr, (batch, rows, groups)))


def _measured_probes(index: Any, vectors: NDArray[np.float16]) -> int:
    """The fewest groups, doubling, with which made queries find what they find in all groups."""
    rng = np.random.default_rng(1)
    chosen = np.sort(rng.choice(len(vectors), _QUERIES, replace=False))
    noise = _scaled(rng.standard_normal((_QUERIES, index.d), dtype=np.float32))
    queries = _QUERY_COSINE * vectors[chosen].astype(np.float32) + (1 - _QUERY_COSINE**2) ** 0.5 * noise
    queries = np.stack([quantized(query) for query in _scaled(queries)])
    _, truth = index.search(queries, _DEPTH, params=faiss.SearchParametersIVF(nprobe=index.nlist))  # type: ignore[call-arg]
    looked_at = 4
    while looked_at < index.nlist:
        _, found = index.search(queries, _DEPTH, params=faiss.SearchParametersIVF(nprobe=looked_at))  # type: ignore[call-arg]
        if all(_recall(truth[:, :depth], found[:, :depth]) >= least for depth, least in _LEAST_RECALL.items()):
            return looked_at
        looked_at *= 2
    return int(index.nlist)


def _recall(truth: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    shared = [len(np.intersect1d(a, b)) for a, b in zip(truth, found, strict=True)]
    return float(np.mean(shared) / truth.shape[1])


def _scaled(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
