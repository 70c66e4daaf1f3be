"""The first tasks of the DAG `index_documents`: from the inbox to chunks with vectors, as Parquet."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cuvee.errors import ProcessDiedError
from cuvee.settings import Settings
from rag_service.documents import landing, ledger, membership
from rag_service.documents.batches import NOTHING_NEW, Batch, batch_id
from rag_service.documents.ledger import Landed
from rag_service.documents.readers import ReadLimits
from rag_service.pipeline.index import publish_generation
from rag_service.pipeline.run import Run
from rag_service.sources.folder import list_settled

log = logging.getLogger(__name__)

_CHUNKS_PER_PARTITION = 32
_MOST_PARTITIONS = 64
_NOBODYS = Landed("probe", "probe", "probe", "probe", "0" * 64, 1, "1970-01-01T00:00:00+00:00", "probe", {})
"""A document that is not in the store: a worker does all for it but read it."""
_DEADLY = (
    "Reading the document ended the process that read it, twice: it took too much memory, or a library failed. Split "
    "it, or convert it to another format. Spark's log has the details."
)


def land_documents(settings: Settings | None = None) -> dict[str, int]:
    """Take settled files out of the inbox; how many were landed, duplicates, superseded, left and failed."""
    run = Run.begin(settings)
    files = list_settled(run.settings.inbox_dir, run.settings.settle_seconds)
    receipt = landing.land(files, run.engine, run.objects, run.settings.batch_documents)
    log.info("%d files in the inbox: %s", len(files), receipt)
    return receipt.as_dict()


def prepare_chunks(settings: Settings | None = None) -> dict[str, Any]:
    """Read and cut the landed documents, also those that a killed run left, the first landed first; the batch.

    `batch_id` is None where there is nothing to do, and `NOTHING_NEW` where documents only wait to be taken out.
    """
    run = Run.begin(settings)
    with run.engine.connect() as connection:
        waiting = ledger.landed(connection, run.settings.batch_documents)
    if not waiting:
        batch = NOTHING_NEW if run.index_is_stale() else None
        return {"batch_id": batch, "documents": 0, "failed": 0, "chunks": 0}
    part = run.batch(batch_id(waiting, (run.chunker, run.model.version)))
    with _deleting_anyway(run):
        run.check_versions(run.published())
        part.write(part.prepared, lambda folder: _prepare(run, waiting, folder))
    outcomes = part.outcomes()
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        log.warning("document %s failed: %s", outcome.document_id, outcome.error)
    with run.engine.begin() as connection:
        ledger.mark_failed(connection, failed)
    chunks = sum(outcome.chunks or 0 for outcome in outcomes)
    return {"batch_id": part.id, "documents": len(outcomes), "failed": len(failed), "chunks": chunks}


def embed_chunks(batch: dict[str, Any], settings: Settings | None = None) -> dict[str, Any]:
    """Vectors for the chunks of the batch and for their statements; the seconds that took."""
    run = Run.begin(settings)
    started = time.monotonic()
    if batch["batch_id"] in (None, NOTHING_NEW):
        return {"batch_id": batch["batch_id"], "chunks": 0, "seconds": 0.0}
    part = run.batch(batch["batch_id"])
    chunks = sum(outcome.chunks or 0 for outcome in part.outcomes())
    with _deleting_anyway(run):
        part.write(part.embedded, lambda folder: _embed(run, part, chunks, folder))
    return {"batch_id": part.id, "chunks": chunks, "seconds": round(time.monotonic() - started, 3)}


@contextmanager
def _deleting_anyway(run: Run) -> Iterator[None]:
    """Deletions wait for no reading: if the body fails, what was deleted leaves the index, and the error goes on."""
    try:
        yield
    except Exception:
        with run.engine.connect() as connection:
            deleted = membership.any_deleted(connection)
        if deleted:
            receipt = publish_generation({"batch_id": NOTHING_NEW}, run.settings)
            log.warning("documents cannot be read now; deleted ones were taken out of the index: %s", receipt)
        raise


def _prepare(run: Run, waiting: Sequence[Landed], folder: str) -> None:
    from spark_jobs import documents
    from spark_jobs.session import attached, deaths_told

    settings = run.settings
    limits = ReadLimits(settings.max_document_bytes, settings.max_document_chars)
    preparation = documents.Preparation(
        settings.resolved_objects_url, settings.embedder, run.rule, limits, settings.read_timeout_seconds
    )
    with attached(settings.resolved_spark_url) as spark:

        def prepare(some: Sequence[Landed]) -> None:
            landed = spark.createDataFrame(_landed_rows(some), documents.LANDED)
            prepared = documents.transform(landed, preparation, _partitions(len(some), 1))
            with deaths_told():
                prepared.write.mode("append").parquet(folder)

        def probe() -> None:
            landed = spark.createDataFrame(_landed_rows([_NOBODYS]), documents.LANDED)
            with deaths_told():
                documents.transform(landed, preparation, 1).write.format("noop").mode("overwrite").save()

        deadly = _reading_apart(waiting, prepare, probe)
        if deadly:
            rows = [documents.failed(vars(document), _DEADLY) for document in deadly]
            spark.createDataFrame(rows, documents.PREPARED).write.mode("append").parquet(folder)


def _reading_apart(
    waiting: Sequence[Landed], prepare: Callable[[Sequence[Landed]], None], probe: Callable[[], None]
) -> list[Landed]:
    """Prepare all, in halves where a worker dies over them; returns those that it dies over twice, each alone.

    Raises:
        ProcessDiedError: a worker dies over the probe too, which reads nothing: it is not the documents' doing.
    """
    deadly: list[Landed] = []
    parts = [list(waiting)]
    while parts:
        part = parts.pop()
        try:
            prepare(part)
        except ProcessDiedError as error:
            log.warning("a worker died while it read %d of %d documents: %s", len(part), len(waiting), error)
            if len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            elif not _survived(part, prepare):
                probe()
                deadly += part
    return deadly


def _survived(part: Sequence[Landed], prepare: Callable[[Sequence[Landed]], None]) -> bool:
    """Whether all goes well this time; the system may have been out of memory for another's sake."""
    try:
        prepare(part)
    except ProcessDiedError:
        return False
    return True


def _landed_rows(documents: Sequence[Landed]) -> list[tuple[Any, ...]]:
    largest_first = sorted(documents, key=lambda document: (-document.size_bytes, document.document_id))
    return [
        (
            d.document_id,
            d.topic,
            d.segment,
            d.uri,
            d.sha256,
            d.size_bytes,
            slot,
            d.source,
            json.dumps(d.given),
            d.landed_at,
        )
        for slot, d in enumerate(largest_first)
    ]


def _embed(run: Run, part: Batch, chunks: int, folder: str) -> None:
    from spark_jobs import embeddings
    from spark_jobs.session import attached

    settings = run.settings
    with attached(settings.resolved_spark_url) as spark:
        rows = spark.read.parquet(str(part.prepared)).where("ordinal is not null")
        partitions = _partitions(chunks, _CHUNKS_PER_PARTITION)
        embeddings.transform(rows, settings.embedder, settings.chunk_tokens, partitions).write.parquet(folder)


def _partitions(rows: int, rows_each: int) -> int:
    return max(1, min(_MOST_PARTITIONS, -(-rows // rows_each)))
