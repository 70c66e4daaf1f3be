"""Vectors on disk and search over them, by FAISS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from cuvee.errors import IntegrityError


def build(path: Path, vectors: NDArray[np.float32] | Iterator[NDArray[np.float32]], count: int, dimension: int) -> str:
    """Write `count` unit vectors, in one matrix or in batches, as an index; row number is the id. Its kind."""
    index = faiss.IndexFlatIP(dimension)
    for batch in [vectors] if isinstance(vectors, np.ndarray) else vectors:
        if len(batch):
            index.add(np.ascontiguousarray(batch))
    if index.ntotal != count:
        raise IntegrityError(f"{index.ntotal} vectors came instead of {count}.")
    faiss.write_index(index, str(path))
    return "Flat"


class Vectors:
    """A read-only set of unit vectors; searching is safe from several threads."""

    kind = "Flat"

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def read(cls, path: Path, memory_map: bool = True) -> "Vectors":
        """Raises IntegrityError when FAISS cannot read the file."""
        flags = faiss.IO_FLAG_MMAP_IFC if memory_map else 0
        try:
            return cls(faiss.read_index(str(path), flags))
        except RuntimeError as error:
            raise IntegrityError(f"{path} is not a FAISS index: {error}") from error

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        return int(self._index.d)

    def reconstruct(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of these rows, shape (rows, dimension)."""
        if not len(rows):
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.asarray(self._index.reconstruct_batch(rows), dtype=np.float32)

    def search(
        self,
        vector: NDArray[np.float32],
        count: int,
        rows: NDArray[np.int64] | None = None,
        without: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The `count` best rows and their cosines, best first, among `rows` (None: all) and not in `without`."""
        allowed = np.ones(len(self), dtype=np.bool_) if without is None else ~without
        if rows is not None:
            only = np.zeros(len(self), dtype=np.bool_)
            only[rows] = True
            allowed &= only
        count = min(count, int(allowed.sum()))
        if count <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        bits = np.packbits(allowed, bitorder="little")
        chosen = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
        parameters = faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
        scores, found = self._index.search(np.ascontiguousarray(vector.reshape(1, -1)), count, params=parameters)
        return found[0], scores[0]
