"""Removing generations that nobody goes back to, and the segments that no generation refers to any more.

The index's lock must be held. Files go after the record says so: what a killed run leaves, the next one removes.
"""

import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from cuvee.database import index_generations
from cuvee.errors import IntegrityError
from rag_service.index.manifest import generation_folder, read_manifest
from rag_service.index.publishing import GenerationRecord, records

log = logging.getLogger(__name__)


def reclaim(engine: sa.Engine, index_dir: Path, kept: int, soak: timedelta | None = None) -> list[int]:
    """Remove retired generations but the last `kept`, and those retired longer than `soak` ago; their numbers."""
    listed = records(engine)
    retired = [record for record in listed if record.state == "retired"]
    gone = [record.number for place, record in enumerate(retired) if place >= kept or _soaked(record, soak)]
    if gone:
        with engine.begin() as connection:
            table = index_generations
            connection.execute(sa.update(table).where(table.c.number.in_(gone)).values(state="reclaimed"))
    staying = {r.number for r in listed if r.state != "reclaimed"} - set(gone)
    folders = {generation_folder(index_dir, number) for number in staying}
    for folder in (index_dir / "generations").glob("*"):
        if folder not in folders:
            shutil.rmtree(folder)
    used = {segment for folder in folders for segment in _segments(folder)}
    for folder in (index_dir / "segments").glob("*"):
        if folder.name not in used:
            shutil.rmtree(folder)
    return gone


def _segments(folder: Path) -> set[str]:
    try:
        return {segment.id for segment in read_manifest(folder).segments}
    except IntegrityError as error:
        # Nobody can go back to it, and what is published was checked before: only its own segments may go with it.
        log.error("a retired generation cannot be read: %s", error)
        return set()


def _soaked(record: GenerationRecord, soak: timedelta | None) -> bool:
    return soak is not None and record.retired_at is not None and record.retired_at < datetime.now(UTC) - soak
