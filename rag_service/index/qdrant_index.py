"""The vector index on a Qdrant server or cluster: one collection for an index, on as many machines as it needs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvee.errors import ConfigurationError, IntegrityError, NotFoundError, NotReadyError
from rag_service.index.vectors import LISTED_ROWS, Found, best, checked

_LEAST_CANDIDATES = 128
"""Of `hnsw_ef`."""
_UPLOAD_VECTORS = 256


def connect(url: str, api_key: str | None = None, timeout_seconds: int = 30) -> Any:
    """A client of the server at `url`, safe to use from several threads; `:memory:` is a small one in this process.

    Raises:
        ConfigurationError: qdrant-client is not installed.
    """
    _models()
    from qdrant_client import QdrantClient

    return (
        QdrantClient(":memory:") if url == ":memory:" else QdrantClient(url, api_key=api_key, timeout=timeout_seconds)
    )


class QdrantIndex:
    """Unit vectors under row numbers; exact among few rows, by the server's HNSW otherwise."""

    kind = "Qdrant"

    def __init__(self, client: Any, name: str, dimension: int) -> None:
        self._client = client
        self._name = name
        self._models = _models()
        self.dimension = dimension

    @classmethod
    def build(
        cls, client: Any, name: str, batches: Iterable[NDArray[np.float32]], count: int, dimension: int
    ) -> "QdrantIndex":
        """Put `count` unit vectors in a collection `name`, which must not exist yet.

        Raises:
            IntegrityError: there are fewer vectors than `count`, or more, or of another dimension.
            NotReadyError: the server does not answer, or refuses.
        """
        index, row = cls(client, name, dimension), 0
        models = index._models
        with _asking(name):
            size = models.VectorParams(size=dimension, distance=models.Distance.DOT)
            client.create_collection(name, vectors_config=size)
            for batch in checked(batches, count, dimension):
                ids = range(row, row + len(batch))
                client.upload_collection(name, vectors=batch, ids=ids, batch_size=_UPLOAD_VECTORS, wait=True)
                row += len(batch)
        return index

    @classmethod
    def open(cls, client: Any, name: str) -> "QdrantIndex":
        """Raises NotFoundError when there is no such collection, NotReadyError when the server does not answer."""
        with _asking(name):
            if not client.collection_exists(name):
                raise NotFoundError(f"There is no vector index {name} on the Qdrant server.")
            return cls(client, name, int(client.get_collection(name).config.params.vectors.size))

    def __len__(self) -> int:
        with _asking(self._name):
            return int(self._client.count(self._name, exact=True).count)

    def delete(self, rows: NDArray[np.int64]) -> None:
        """Remove these rows; the others keep their numbers."""
        with _asking(self._name):
            self._client.delete(self._name, self._models.PointIdsList(points=rows.tolist()), wait=True)

    def search(
        self,
        vector: NDArray[np.float32],
        count: int,
        rows: NDArray[np.int64] | None = None,
        alive: NDArray[np.bool_] | None = None,
    ) -> Found:
        """As VectorIndex.search."""
        models = self._models
        if rows is not None and alive is not None:
            rows, alive = rows[alive[rows]], None
        if count <= 0 or (rows is not None and not len(rows)):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        must = None if rows is None else [models.HasIdCondition(has_id=rows.tolist())]
        dead = None if alive is None else [models.HasIdCondition(has_id=np.flatnonzero(~alive).tolist())]
        exact = rows is not None and len(rows) <= LISTED_ROWS
        with _asking(self._name):
            found = self._client.query_points(
                self._name,
                query=np.asarray(vector, dtype=np.float32).tolist(),
                query_filter=models.Filter(must=must, must_not=dead),
                search_params=models.SearchParams(exact=exact, hnsw_ef=max(_LEAST_CANDIDATES, 2 * count)),
                limit=count,
                with_payload=False,
            ).points
        scores = np.array([point.score for point in found], np.float32)
        return best(np.array([point.id for point in found], np.int64), scores, count)

    def reconstruct(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of these rows, shape (rows, dimension).

        Raises:
            IntegrityError: a row is not there.
        """
        if not len(rows):
            return np.empty((0, self.dimension), np.float32)
        with _asking(self._name):
            points = self._client.retrieve(self._name, ids=rows.tolist(), with_payload=False, with_vectors=True)
        known = {point.id: np.asarray(point.vector, dtype=np.float32) for point in points}
        missing = set(rows.tolist()) - known.keys()
        if missing:
            raise IntegrityError(f"{self._name} has no rows {sorted(missing)[:5]}.")
        return np.stack([known[row] for row in rows.tolist()])


@contextmanager
def _asking(name: str) -> Iterator[None]:
    """Turns what the client raises into our errors."""
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        raise NotReadyError(f"The Qdrant server does not serve the vector index {name}: {error}") from error


def _models() -> Any:
    try:
        from qdrant_client import models
    except ImportError as error:
        raise ConfigurationError("A vector index on Qdrant needs the extra qdrant: cuvee[qdrant].") from error
    return models
