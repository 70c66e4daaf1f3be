"""What the DAG `housekeeping` does: what nobody needs any more is removed, after a soak.

Everything can be killed at any line and run again. A deleted document is gone from answers with the next generation.
Once these three have run after the soak, its bytes and its text are gone, and no file of what is served holds its
words; the retired generation that held them goes a soak later.
"""

import logging
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from cuvee.database import single_writer
from cuvee.settings import Settings
from rag_service.documents import ledger, retention
from rag_service.documents.batches import Batch
from rag_service.feedback import forgetting
from rag_service.index import reclaiming
from rag_service.index.alive import Alive
from rag_service.index.manifest import Manifest
from rag_service.pipeline.index import fold_present, same_base
from rag_service.pipeline.run import INDEX_LOCK, Run

log = logging.getLogger(__name__)


def forget_deleted(settings: Settings | None = None) -> dict[str, Any]:
    """Fold the index if the published generation's files still hold text of documents deleted before the soak."""
    run = Run.begin(settings)
    with single_writer(run.engine, INDEX_LOCK):
        present = run.published()
        if present is None or not _holds_deleted(run, present):
            return {"generation": present.number if present else None, "published": False, "new_base": False}
        folded = fold_present(run, present)
    return {"generation": folded.number, "published": True, "new_base": not same_base(present, folded)}


def _holds_deleted(run: Run, present: Manifest) -> bool:
    if not present.dead:
        return False
    with run.engine.connect() as connection:
        alive = Alive.of(run.index_dir, present, ledger.ids_in_state(connection, "indexed"))
        return retention.any_deleted(connection, alive.dead_document_ids, _soak(run))


def reclaim_index(settings: Settings | None = None) -> dict[str, Any]:
    """Remove generations and batches that are older than the soak, and segments that nothing refers to."""
    run = Run.begin(settings)
    with single_writer(run.engine, INDEX_LOCK):
        gone = reclaiming.reclaim(run.engine, run.index_dir, run.settings.generations_kept, _soak(run))
        before = time.time() - _soak(run).total_seconds()
        # A rebuild says at each step that it is worked at.
        batches = [f for f in _left_by_runs(run) if f.stat().st_mtime < before]
        for folder in batches:
            shutil.rmtree(folder)
    log.info("reclaimed generations %s and %d batches", gone, len(batches))
    return {"generations": gone, "batches": len(batches)}


def reclaim_objects(settings: Settings | None = None) -> dict[str, Any]:
    """Remove bytes and texts that only documents refer to which were deleted or superseded before the soak, and their
    words in logged answers.
    """
    run = Run.begin(settings)
    with single_writer(run.engine, INDEX_LOCK):
        with run.engine.connect() as connection:
            due = retention.read(connection, _soak(run))
        store, removed = run.objects, 0
        store.remove_unfinished(due.put_before)
        for sha256 in store.unused(due.objects_kept | _texts_read_anew(run), due.put_before):
            store.remove(sha256)
            removed += 1
        with run.engine.begin() as connection:
            documents = retention.mark_reclaimed(connection, due.documents)
            questions = forgetting.forget(connection)
    log.info("removed %d objects of %d documents, and their words from %d questions", removed, documents, questions)
    return {"objects": removed, "documents": documents, "questions": questions}


def _texts_read_anew(run: Run) -> set[str]:
    """Texts that a rebuild made, which no document names before it is published; not of documents that are gone."""
    with run.engine.connect() as connection:
        indexed = ledger.ids_in_state(connection, "indexed")
    parts = [Batch(folder.name, folder) for folder in run.settings.batches_dir.glob("rebuild/*/*")]
    outcomes = [outcome for part in parts if part.prepared.is_dir() for outcome in part.outcomes()]
    return {one.text_sha256 for one in outcomes if one.text_sha256 and one.document_id in indexed}


def _left_by_runs(run: Run) -> list[Path]:
    read = [*run.settings.batches_dir.glob("documents/*"), *run.settings.batches_dir.glob("rebuild/*")]
    return [*read, *run.index_dir.glob("rebuild/*")]


def _soak(run: Run) -> timedelta:
    return timedelta(hours=run.settings.soak_hours)
