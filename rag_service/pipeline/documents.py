"""The first tasks of the DAG `index_documents`: from the inbox to chunks with vectors, as Parquet."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cuvee.settings import Settings
from rag_service.documents import landing, ledger, membership
from rag_service.documents.batches import NOTHING_NEW, batch_id
from rag_service.pipeline import reading
from rag_service.pipeline.index import publish_generation
from rag_service.pipeline.run import Run
from rag_service.sources.folder import list_settled

log = logging.getLogger(__name__)


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
    with _deleting_anyway(run):
        present = run.published()
        making = run.making(present)
        part = run.batch(batch_id([document.landing for document in waiting], making.versions))
        part.write(part.prepared, lambda folder: reading.prepare(run, making, waiting, folder))
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
    outcomes = part.outcomes()
    chunks = sum(outcome.chunks or 0 for outcome in outcomes)
    with _deleting_anyway(run):
        making = run.making(run.published())
        if not part.is_of(outcomes, making.versions):
            log.warning("what is served was made otherwise meanwhile; the next run reads these documents again")
            return {"batch_id": NOTHING_NEW, "chunks": 0, "seconds": 0.0}
        part.write(part.embedded, lambda folder: reading.embed(run, making, part.prepared, chunks, folder))
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
