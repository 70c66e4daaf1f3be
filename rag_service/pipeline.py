"""What the DAG `index_documents` does, one function per task; each can be killed at any line and run again."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cuvee.database import connect, single_writer
from cuvee.errors import ConfigurationError
from cuvee.objects import ObjectStore
from cuvee.serving import wait_until_serves
from cuvee.settings import Settings
from rag_service.documents import landing, ledger
from rag_service.documents.batches import Batch, batch_id, remove_older
from rag_service.documents.chunking import ChunkingRule
from rag_service.documents.readers import ReadLimits
from rag_service.index import generation as generations
from rag_service.index.embedder import ModelFiles
from rag_service.index.generation import Generation, Manifest, Recipe
from rag_service.index.rows import Rows
from rag_service.sources.folder import list_settled

log = logging.getLogger(__name__)

_INDEX_LOCK = "index"
_CHUNKS_PER_PARTITION = 32
_MOST_PARTITIONS = 64


def land_documents(settings: Settings | None = None) -> dict[str, int]:
    """Take settled files out of the inbox; how many were landed, duplicates, superseded, left and failed."""
    run = _Run.begin(settings)
    files = list_settled(run.settings.inbox_dir, run.settings.settle_seconds)[: run.settings.batch_documents]
    receipt = landing.land(files, run.engine, ObjectStore(run.settings.resolved_objects_url))
    log.info("%d files in the inbox: %s", len(files), receipt)
    return receipt.as_dict()


def prepare_chunks(settings: Settings | None = None) -> dict[str, Any]:
    """Read and cut every landed document, also those that a killed run left; the batch, or `batch_id` None."""
    run = _Run.begin(settings)
    with run.engine.connect() as connection:
        waiting = ledger.landed(connection)
    if not waiting and not run.index_is_stale():
        return {"batch_id": None, "documents": 0, "failed": 0, "chunks": 0}
    run.check_versions(run.published())
    batch = run.batch(batch_id(waiting, (run.rule.version, run.model.version)))
    batch.write(batch.prepared, lambda folder: _prepare(run, waiting, folder))
    outcomes = batch.outcomes()
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        log.warning("document %s failed: %s", outcome.document_id, outcome.error)
    with run.engine.begin() as connection:
        ledger.mark_failed(connection, failed)
    chunks = sum(outcome.chunks or 0 for outcome in outcomes)
    return {"batch_id": batch.id, "documents": len(outcomes), "failed": len(failed), "chunks": chunks}


def embed_chunks(batch: dict[str, Any], settings: Settings | None = None) -> dict[str, Any]:
    """One vector for each chunk of the batch; the seconds that took."""
    run = _Run.begin(settings)
    started = time.monotonic()
    if batch["batch_id"] is None:
        return {"batch_id": None, "chunks": 0, "seconds": 0.0}
    part = run.batch(batch["batch_id"])
    chunks = sum(outcome.chunks or 0 for outcome in part.outcomes())
    part.write(part.embedded, lambda folder: _embed(run, part, chunks, folder))
    return {"batch_id": part.id, "chunks": chunks, "seconds": round(time.monotonic() - started, 3)}


def publish_generation(batch: dict[str, Any], settings: Settings | None = None) -> dict[str, Any]:
    """Build and publish the generation that holds what is alive of the present one, and the batch.

    Where that is what is published already (the batch was, or all of it failed), nothing is published.
    """
    run = _Run.begin(settings)
    with single_writer(run.engine, _INDEX_LOCK):
        present = run.published()
        if batch["batch_id"] is None:
            return _receipt(present, published=False)
        run.check_versions(present)
        part = run.batch(batch["batch_id"])
        with run.engine.connect() as connection:
            waiting = ledger.ids_in_state(connection, "landed")
            indexed = ledger.ids_in_state(connection, "indexed")
        fresh = [outcome for outcome in part.outcomes() if outcome.error is None and outcome.document_id in waiting]
        if not fresh and not run.index_is_stale():
            return _receipt(present, published=False)
        manifest = _publish(run, part, fresh, indexed)
        generations.remove_old(run.settings.index_dir, manifest.number)
        remove_older(run.settings.batches_dir, part)
    return _receipt(manifest, published=True)


def verify_served(settings: Settings | None = None) -> dict[str, Any]:
    """Wait until `rag_service` serves the published generation, if there is one.

    Raises:
        NotReadyError: it still serves something else after a minute.
    """
    run = _Run.begin(settings)
    present = run.published()
    if present is None:
        return {"generation": None, "seconds": 0.0}
    seconds = wait_until_serves(run.settings.resolved_rag_url, "generation", present.number)
    service_url = f"{run.settings.public_rag_url}/docs"
    return {"generation": present.number, "seconds": round(seconds, 1), "service_url": service_url}


@dataclass(frozen=True)
class _Run:
    """What every task needs, made from the settings."""

    settings: Settings
    engine: sa.Engine

    @classmethod
    def begin(cls, settings: Settings | None) -> "_Run":
        settings = settings or Settings.load()
        return cls(settings, connect(settings.resolved_database_url))

    @property
    def rule(self) -> ChunkingRule:
        return ChunkingRule(self.settings.chunk_tokens, self.settings.chunk_overlap_tokens)

    @property
    def model(self) -> ModelFiles:
        return ModelFiles.locate(self.settings.embedder, self.settings.chunk_tokens)

    def batch(self, name: str) -> Batch:
        return Batch.in_folder(self.settings.batches_dir, name)

    def published_folder(self) -> Path | None:
        return generations.current(self.engine, self.settings.index_dir)

    def published(self) -> Manifest | None:
        folder = self.published_folder()
        return generations.read_manifest(folder) if folder else None

    def index_is_stale(self) -> bool:
        """Whether the published generation holds documents that are not alive any more."""
        folder = self.published_folder()
        if folder is None:
            return False
        with self.engine.connect() as connection:
            return not generations.document_ids(folder) <= ledger.ids_in_state(connection, "indexed")

    def check_versions(self, present: Manifest | None) -> None:
        """Raises ConfigurationError when the settings ask for other vectors or chunks than the published ones."""
        if present is None or not present.chunks:
            return
        had, wanted = (present.embedder_version, present.chunker), (self.model.version, self.rule.version)
        if had != wanted:
            raise ConfigurationError(
                f"The published index was made with embedder {had[0]} and chunker {had[1]}; the settings ask for "
                f"{wanted[0]} and {wanted[1]}, and the two cannot be mixed. Set CUVEE_EMBEDDER, CUVEE_CHUNK_TOKENS and "
                "CUVEE_CHUNK_OVERLAP_TOKENS back to what they were."
            )


def _prepare(run: _Run, waiting: Sequence[ledger.Landed], folder: str) -> None:
    from spark_jobs import documents
    from spark_jobs.session import attached

    settings = run.settings
    limits = ReadLimits(settings.max_document_bytes, settings.max_document_chars)
    preparation = documents.Preparation(
        settings.resolved_objects_url, settings.embedder, run.rule, limits, settings.read_timeout_seconds
    )
    largest_first = sorted(waiting, key=lambda document: (-document.size_bytes, document.document_id))
    rows = [
        (d.document_id, d.topic, d.segment, d.uri, d.sha256, d.size_bytes, slot) for slot, d in enumerate(largest_first)
    ]
    with attached(settings.resolved_spark_url) as spark:
        landed = spark.createDataFrame(rows, documents.LANDED)
        documents.transform(landed, preparation, _partitions(len(rows), 1)).write.parquet(folder)


def _embed(run: _Run, part: Batch, chunks: int, folder: str) -> None:
    from spark_jobs import embeddings
    from spark_jobs.session import attached

    settings = run.settings
    with attached(settings.resolved_spark_url) as spark:
        rows = spark.read.parquet(str(part.prepared)).where("ordinal is not null")
        partitions = _partitions(chunks, _CHUNKS_PER_PARTITION)
        embeddings.transform(rows, settings.embedder, settings.chunk_tokens, partitions).write.parquet(folder)


def _partitions(rows: int, rows_each: int) -> int:
    return max(1, min(_MOST_PARTITIONS, -(-rows // rows_each)))


def _publish(run: _Run, part: Batch, fresh: Sequence[ledger.Outcome], indexed: set[str]) -> Manifest:
    folder = run.published_folder()
    settings, model = run.settings, run.model
    recipe = Recipe(model.id, model.version, run.rule.version, settings.refusal_threshold)
    alive = [Generation.load(folder).rows().only(indexed)] if folder else []
    rows = Rows.together([*alive, Rows.of_batch(part.chunks()).only({outcome.document_id for outcome in fresh})])
    built = generations.build(settings.index_dir, generations.next_number(run.engine), rows, recipe)
    with run.engine.begin() as connection:
        manifest = generations.publish(connection, built)
        ledger.mark_indexed(connection, fresh)
    log.info("published generation %d: %d documents, %d chunks", manifest.number, manifest.documents, manifest.chunks)
    return manifest


def _receipt(manifest: Manifest | None, published: bool) -> dict[str, Any]:
    if manifest is None:
        return {"generation": None, "documents": 0, "chunks": 0, "published": published}
    counts = {"documents": manifest.documents, "chunks": manifest.chunks}
    return {"generation": manifest.number, **counts, "published": published}
