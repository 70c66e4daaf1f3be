"""Readers go on while generations come, go back and are removed: no error, and never a deleted document."""

import threading
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from cuvee.database import documents
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.documents import ledger
from rag_service.index import building, publishing
from rag_service.index.building import Recipe
from rag_service.index.manifest import Manifest
from rag_service.index.search import ServedIndex
from rag_service.pipeline.run import Run
from tests.unit.rag_service.index.library import DIMENSION, document_rows, unit

pytestmark = pytest.mark.integration
DOCUMENTS = 40


class SameEncoder:
    """Says that it is the embedder that a generation was made with; it is never asked for a vector."""

    dimension = DIMENSION

    def __init__(self, made: Manifest) -> None:
        self.id, self.version = made.embedder, made.embedder_version

    def encode(self, texts: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def indexed(engine: sa.Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """DOCUMENTS documents, as if `index_documents` had published them; two generations are kept."""
    monkeypatch.setenv("CUVEE_GENERATIONS_KEPT", "2")
    monkeypatch.setenv("CUVEE_DEAD_SHARE", "0.2")
    run = Run.begin(settings)
    recipe = Recipe.of_making(run.wanted, 0.4, {})
    made = document_rows(range(DOCUMENTS))
    columns = ("document_id", "topic", "segment", "uri", "source", "author", "date", "metadata")
    told = {row["document_id"]: row for row in made.chunks.select(columns).to_pylist()}
    read = {"state": "indexed", "in_index": True, "sha256": "0", "text_sha256": "1", "size_bytes": 1}
    rows = [row | read | {"metadata": dict(row["metadata"])} for row in told.values()]
    folder = building.build(settings.index_dir, 1, made, recipe)
    with engine.begin() as connection:
        connection.execute(sa.insert(documents), rows)
        publishing.publish(connection, folder)
    return Settings.load()


def test_readers_go_on_while_generations_come_and_go(engine: sa.Engine, indexed: Settings) -> None:
    served = ServedIndex(engine, indexed.index_dir, SameEncoder)
    served.refresh()
    seen: list[tuple[int, frozenset[str]]] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def read(seed: int) -> None:
        while not done.is_set():
            try:
                generation = served.retriever().generation
                everything = generation.select(None)  # type: ignore[attr-defined]
                near = generation.dense(unit(seed)[0], 100, everything)  # type: ignore[attr-defined]
                said = generation.lexical("barrel press gas vine", 100, everything)  # type: ignore[attr-defined]
                generation.statement_vectors(near.rows)  # type: ignore[attr-defined]
                rows = np.union1d(near.rows, said.rows)
                found = frozenset(generation.chunk(int(row)).document_id for row in rows)  # type: ignore[attr-defined]
                seen.append((generation.manifest.number, found))
            except BaseException as error:
                errors.append(error)
                raise

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for reader in readers:
        reader.start()
    gone_from: dict[str, int] = {}
    try:
        for step in range(12):
            document = f"d{step * 3:03d}"
            with engine.begin() as connection:
                ledger.delete(connection, document)
            if step % 4 == 3:
                receipt = pipeline.go_back(indexed)
            elif step % 4 == 1:
                receipt = pipeline.compact_index(indexed)
            else:
                receipt = pipeline.publish_generation(pipeline.prepare_chunks(indexed), indexed)
            gone_from[document] = receipt["generation"]
            pipeline.reclaim_index(indexed)
            served.refresh()
            assert (served.problem, served.retriever().generation.manifest.number) == (None, receipt["generation"])
    finally:
        done.set()
        for reader in readers:
            reader.join(timeout=20)

    assert errors == []
    assert len({number for number, _ in seen}) > 6
    for number, found in seen:
        assert not {document for document in found if gone_from.get(document, number + 1) <= number}
    states = sorted(path.name for path in (indexed.index_dir / "generations").iterdir())
    assert len(states) == 3
