"""Vectors on disk and exact search over them, by FAISS. Later kinds of index go behind the same functions."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from cuvee.errors import IntegrityError


def write(path: Path, vectors: NDArray[np.float32]) -> None:
    """Write unit vectors, shape (chunks, dimension), as a flat inner-product index; row number is the id."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))
    faiss.write_index(index, str(path))


class Vectors:
    """A read-only set of unit vectors; searching is safe from several threads."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def read(cls, path: Path) -> "Vectors":
        """Raises IntegrityError when FAISS cannot read the file."""
        try:
            return cls(faiss.read_index(str(path)))
        except RuntimeError as error:
            raise IntegrityError(f"{path} is not a FAISS index: {error}") from error

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        return int(self._index.d)

    def all(self) -> NDArray[np.float32]:
        """Every vector, shape (chunks, dimension), in row order."""
        if not len(self):
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.asarray(self._index.reconstruct_n(0, len(self)), dtype=np.float32)

    def search(
        self, vector: NDArray[np.float32], top_k: int, rows: NDArray[np.int64] | None = None
    ) -> list[tuple[int, float]]:
        """The `top_k` best (row, cosine), best first, among `rows` (ascending; None: all); fewer where fewer are."""
        count = min(top_k, len(self) if rows is None else len(rows))
        if count <= 0:
            return []
        parameters = None if rows is None else faiss.SearchParameters(sel=faiss.IDSelectorBatch(rows))  # type: ignore[call-arg]
        scores, found = self._index.search(np.ascontiguousarray(vector.reshape(1, -1)), count, params=parameters)
        hits = [(int(row), float(score)) for row, score in zip(found[0], scores[0], strict=True) if row >= 0]
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))
