"""One contract, three vector indexes: FAISS in a file, pgvector in PostgreSQL, Qdrant (its client's local mode)."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from cuvee.errors import IntegrityError, NotFoundError
from rag_service.index import qdrant_index
from rag_service.index.pgvector_index import PgVectorIndex
from rag_service.index.qdrant_index import QdrantIndex
from rag_service.index.vectors import VectorIndex, Vectors, build

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:Local mode performs exact")]

ROWS, DIMENSION = 400, 24
Make = Callable[[np.ndarray], Any]


def _made(count: int, seed: int) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def _halves(vectors: np.ndarray) -> list[np.ndarray]:
    return [vectors[: len(vectors) // 2], vectors[len(vectors) // 2 :]]


VECTORS, QUERIES = _made(ROWS, 1), _made(10, 2)


@pytest.fixture(params=["faiss", "pgvector", "pgvector-hnsw", "qdrant"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes an index of the given vectors."""

    def make(vectors: np.ndarray) -> Any:
        size = (len(vectors), DIMENSION)
        if request.param == "faiss":
            build(tmp_path / "vectors.faiss", _halves(vectors), *size)
            return Vectors.read(tmp_path / "vectors.faiss")
        if request.param == "qdrant":
            return QdrantIndex.build(qdrant_index.connect(":memory:"), "passages", _halves(vectors), *size)
        flat_rows = 0 if request.param == "pgvector-hnsw" else ROWS
        engine = request.getfixturevalue("engine")
        return PgVectorIndex.build(engine, "passage_vectors", _halves(vectors), *size, flat_rows=flat_rows)

    return make


@pytest.fixture
def index(make: Make) -> Any:
    return make(VECTORS)


def _expected(query: np.ndarray, among: np.ndarray, count: int) -> list[int]:
    return among[np.argsort(-(VECTORS[among] @ query), kind="stable")[:count]].tolist()


def test_search_finds_the_nearest_with_their_cosines(index: VectorIndex) -> None:
    assert (len(index), index.dimension) == (ROWS, DIMENSION)
    for query in QUERIES:
        rows, scores = index.search(query, 5)

        assert rows.tolist() == _expected(query, np.arange(ROWS), 5)
        assert scores == pytest.approx(VECTORS[rows] @ query, abs=1e-5)
        assert (rows.dtype, scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("kept", [3, 40, 200])
def test_search_stays_among_the_rows_it_is_given(index: VectorIndex, kept: int) -> None:
    among = np.sort(np.random.default_rng(kept).choice(ROWS, kept, replace=False))

    for query in QUERIES:
        assert index.search(query, 5, rows=among)[0].tolist() == _expected(query, among, 5)


def test_what_is_not_alive_is_never_found(index: VectorIndex) -> None:
    alive = np.random.default_rng(8).random(ROWS) > 0.4
    among = np.arange(0, ROWS, 3)

    for query in QUERIES:
        assert index.search(query, 5, alive=alive)[0].tolist() == _expected(query, np.flatnonzero(alive), 5)
        both = index.search(query, 5, rows=among, alive=alive)[0]
        assert both.tolist() == _expected(query, among[alive[among]], 5)


def test_fewer_are_found_where_fewer_are(index: VectorIndex) -> None:
    nobody = np.zeros(ROWS, dtype=np.bool_)

    assert len(index.search(QUERIES[0], 10, rows=np.array([4, 2]))[0]) == 2
    assert len(index.search(QUERIES[0], 10, rows=np.array([], dtype=np.int64))[0]) == 0
    assert len(index.search(QUERIES[0], 10, alive=nobody)[0]) == 0
    assert len(index.search(QUERIES[0], 0)[0]) == 0


def test_equal_vectors_stand_in_row_order(make: Make) -> None:
    vectors = VECTORS[:20].copy()
    vectors[[3, 11, 17]] = vectors[5]

    rows, _ = make(vectors).search(vectors[5], 4)

    assert rows.tolist() == [3, 5, 11, 17]


def test_an_index_of_nothing_finds_nothing(make: Make) -> None:
    empty = make(VECTORS[:0])

    assert len(empty) == 0
    assert len(empty.search(QUERIES[0], 3)[0]) == 0
    assert empty.reconstruct(np.array([], dtype=np.int64)).shape == (0, DIMENSION)


def test_vectors_come_back_in_the_order_asked_for(index: VectorIndex) -> None:
    rows = np.array([17, 3, 399, 3])

    assert index.reconstruct(rows) == pytest.approx(VECTORS[rows], abs=1e-6)


def test_another_number_of_vectors_than_promised_is_an_error(make: Make, tmp_path: Path, engine: sa.Engine) -> None:
    with pytest.raises(IntegrityError):
        build(tmp_path / "v", [VECTORS], ROWS + 1, DIMENSION)
    with pytest.raises(IntegrityError):
        PgVectorIndex.build(engine, "torn", [VECTORS], ROWS + 1, DIMENSION)
    with pytest.raises(IntegrityError):
        QdrantIndex.build(qdrant_index.connect(":memory:"), "torn", [VECTORS], ROWS + 1, DIMENSION)
    with pytest.raises(NotFoundError):
        PgVectorIndex.open(engine, "torn")


def test_several_threads_search_at_once(index: VectorIndex) -> None:
    found: dict[int, list[int]] = {}

    def search(n: int) -> None:
        for _ in range(5):
            found[n] = index.search(QUERIES[n], 5)[0].tolist()

    threads = [threading.Thread(target=search, args=(n,)) for n in range(len(QUERIES))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {n: _expected(query, np.arange(ROWS), 5) for n, query in enumerate(QUERIES)}


def test_rows_are_deleted_on_the_servers_and_the_others_keep_their_numbers(engine: sa.Engine) -> None:
    client = qdrant_index.connect(":memory:")
    QdrantIndex.build(client, "kept", [VECTORS], ROWS, DIMENSION)
    PgVectorIndex.build(engine, "kept", [VECTORS], ROWS, DIMENSION)
    first = _expected(QUERIES[0], np.arange(ROWS), 5)

    for index in (QdrantIndex.open(client, "kept"), PgVectorIndex.open(engine, "kept")):
        index.delete(np.array(first[:2]))

        assert (len(index), index.dimension) == (ROWS - 2, DIMENSION)
        assert index.search(QUERIES[0], 3)[0].tolist() == first[2:]
        with pytest.raises(IntegrityError, match="has no rows"):
            index.reconstruct(np.array(first[:1]))
