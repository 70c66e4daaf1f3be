"""Vectors on disk and search over them: the contract that every vector index keeps, and the one by FAISS.

Few vectors are kept as they are (`Flat`, fp32) and always searched exactly. Many are kept in fp16, in a file of their
own, and in 8 bits, grouped around centroids (`IVF`): a search looks at so many groups as a measurement at the build
found necessary, and compares the best of what it sees again, in fp16.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from cuvee.errors import IntegrityError
from rag_service.index import ivf

VERSION = "vectors-2"
"""Changed when the same vectors are written otherwise."""

Found = tuple[NDArray[np.int64], NDArray[np.float32]]

FLAT_ROWS = 10_000
"""Most vectors of a Flat index: one scan of them takes about 1 ms, less than the rest of a question."""
LISTED_ROWS = 4_096
"""Up to here, comparing the asked-for rows themselves is faster than testing every row of the index."""


class VectorIndex(Protocol):
    """Unit vectors under row numbers from 0 on; searching is safe from several threads."""

    @property
    def kind(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    def __len__(self) -> int: ...
    def search(
        self,
        vector: NDArray[np.float32],
        count: int,
        rows: NDArray[np.int64] | None = None,
        alive: NDArray[np.bool_] | None = None,
    ) -> Found:
        """The `count` rows nearest to the unit vector, shape (dimension,), and their cosines; fewer where there are
        fewer. Best first, equal cosines in row order. Only among `rows` and where `alive`, shape (all rows,), is true.
        """

    def reconstruct(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of these rows, shape (rows, dimension)."""


def build(path: Path, vectors: NDArray[np.float32] | Iterable[NDArray[np.float32]], count: int, dimension: int) -> str:
    """Write `count` unit vectors, in one matrix or in batches; a row's number is its id. The kind.

    Above FLAT_ROWS there is a second file, `halves_of(path)`. Holds one batch at a time, and then the index itself
    (0.4 KB for each vector of 384). The same vectors give the same files on the same number of cores.

    Raises:
        IntegrityError: there are fewer vectors than `count`, or more, or of another dimension.
    """
    batches = ivf.slices(vectors) if isinstance(vectors, np.ndarray) else vectors
    sound = checked(batches, count, dimension)
    if count > FLAT_ROWS:
        index = ivf.build(sound, count, dimension, halves_of(path))
    else:
        index = faiss.IndexFlatIP(dimension)
        for batch in sound:
            index.add(batch)
    faiss.write_index(index, str(path))
    return _kind(index)


def halves_of(path: Path) -> Path:
    """Where the vectors of the grouped index `path` are in fp16, row by row."""
    return path.with_suffix(".f16")


def write(path: Path, vectors: NDArray[np.float32]) -> None:
    """Write unit vectors, shape (rows, dimension)."""
    build(path, vectors, *vectors.shape)


class Vectors:
    """An index in a file; it never changes. One search runs in one thread."""

    def __init__(self, index: Any, halves: NDArray[np.float16] | None) -> None:
        self._index = index
        self.kind = _kind(index)
        self.dimension = int(index.d)
        self._halves = halves

    @classmethod
    def read(cls, path: Path, memory_map: bool = True) -> "Vectors":
        """Open the file; by memory map, so that it is read as it is used and processes share it.

        Raises:
            IntegrityError: it is not an index of ours.
        """
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if memory_map else 0)
        except RuntimeError as error:
            raise IntegrityError(f"{path} is not a FAISS index: {error}") from error
        if isinstance(index, faiss.IndexFlat):
            return cls(index, None)
        first = faiss.ScalarQuantizer.QT_fp16
        if not isinstance(index, faiss.IndexIVFScalarQuantizer) or index.sq.qtype not in (first, ivf.QUANTIZER):
            raise IntegrityError(f"{path} is a FAISS index of another kind ({type(index).__name__}).")
        if index.sq.qtype == first:
            # As the first version wrote them: held in memory until the next fold writes them anew.
            return cls(index, index.reconstruct_n(0, index.ntotal).astype(np.float16))
        return cls(index, _map_halves(halves_of(path), int(index.ntotal), int(index.d)))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def all(self) -> NDArray[np.float32]:
        """Every vector, shape (rows, dimension)."""
        return self.reconstruct(np.arange(len(self), dtype=np.int64))

    def reconstruct(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of these rows, shape (rows, dimension)."""
        if not len(rows):
            return np.empty((0, self.dimension), dtype=np.float32)
        if self._halves is not None:
            return self._halves[rows].astype(np.float32)
        return np.asarray(self._index.reconstruct_batch(np.ascontiguousarray(rows, dtype=np.int64)), dtype=np.float32)

    def search(
        self,
        vector: NDArray[np.float32],
        count: int,
        rows: NDArray[np.int64] | None = None,
        alive: NDArray[np.bool_] | None = None,
    ) -> Found:
        """As VectorIndex.search; exact where all of few rows are looked at, which `ivf.probes` decides."""
        query = np.ascontiguousarray(vector, dtype=np.float32)
        if rows is not None and len(rows) > LISTED_ROWS:
            asked_for = np.zeros(len(self), dtype=np.bool_)
            asked_for[rows] = True
            rows, alive = None, asked_for if alive is None else asked_for & alive
        living = len(self) if alive is None else int(np.count_nonzero(alive))
        if rows is None and alive is not None and living <= LISTED_ROWS:
            rows = np.flatnonzero(alive)
        if rows is not None:
            kept = np.unique(rows if alive is None else rows[alive[rows]])
            return best(kept, self.reconstruct(kept) @ query, count)
        count = min(count, living)
        if count <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        return self._scan(query, count, alive, living)

    def _scan(self, query: NDArray[np.float32], count: int, alive: NDArray[np.bool_] | None, living: int) -> Found:
        chosen = {}
        if alive is not None and living < len(self):
            bits = np.packbits(alive, bitorder="little")  # held here: the selector only points at it
            chosen["sel"] = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg,arg-type]
        if self._halves is None:
            parameters = faiss.SearchParameters(**chosen)
            scores, found = self._index.search(query[None], count, params=parameters)
            return best(found[0], scores[0], count)
        probes, asked = ivf.probes(self._index, count, living), min(ivf.candidates(count), living)
        coarse = ivf.quantized(query)[None]
        while True:
            parameters = faiss.SearchParametersIVF(nprobe=probes, **chosen)  # type: ignore[call-arg]
            _, found = self._index.search(coarse, asked, params=parameters)
            rows = found[0][found[0] >= 0]
            if len(rows) >= count or probes >= self._index.nlist:
                return best(rows, self.reconstruct(rows) @ query, count)
            probes *= 4  # the groups near the query hold too few that are alive


def best(rows: NDArray[np.int64], scores: NDArray[np.float32], count: int) -> Found:
    """The `count` highest scores with their rows, best first, equal ones in row order."""
    if len(rows) > count > 0:
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        rows, scores = rows[scores >= least], scores[scores >= least]
    order = np.lexsort((rows, -scores))[: max(count, 0)]
    return rows[order].astype(np.int64, copy=False), scores[order].astype(np.float32, copy=False)


def _map_halves(path: Path, count: int, dimension: int) -> NDArray[np.float16]:
    try:
        if path.stat().st_size == 2 * count * dimension:
            # A plain array over the mapping: taking rows of a memmap is slower.
            return np.asarray(np.memmap(path, dtype=np.float16, mode="r", shape=(count, dimension)))
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error}") from error
    raise IntegrityError(f"{path} does not hold {count} vectors of {dimension} numbers.")


def _kind(index: Any) -> str:
    return f"IVF{index.nlist},SQ8" if isinstance(index, faiss.IndexIVF) else "Flat"


def checked(batches: Iterable[NDArray[np.float32]], count: int, dimension: int) -> Iterator[NDArray[np.float32]]:
    """The batches in fp32, none empty.

    Raises:
        IntegrityError: they hold fewer vectors than `count`, or more, or of another dimension.
    """
    came = 0
    for batch in batches:
        if batch.ndim != 2 or batch.shape[1] != dimension:
            raise IntegrityError(f"vectors of shape {batch.shape} came where the dimension is {dimension}.")
        came += len(batch)
        if came > count:
            break
        if len(batch):
            yield np.ascontiguousarray(batch, dtype=np.float32)
    if came != count:
        raise IntegrityError(f"{came} vectors came instead of {count}.")
