"""From the inbox into object storage and the ledger; only then is a file taken out of the inbox.

Killed at any line and run again, nothing is lost and nothing comes twice: objects and documents are named by their
content, and a file that is still in the inbox is simply a duplicate.
"""

import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import IO

import sqlalchemy as sa

from cuvee.objects import ObjectStore
from rag_service.documents import ledger
from rag_service.sources.folder import InboxFile

log = logging.getLogger(__name__)


@dataclass
class Receipt:
    """Counts of one landing."""

    landed: int = 0
    duplicates: int = 0
    superseded: int = 0
    left: int = 0
    """Changed while they were read; the next round takes them."""
    failed: int = 0
    """Could not be read (permissions, disk); the log names them, and they stay in the inbox."""

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class _SourceError(Exception):
    """The inbox file failed, not the store that it is copied to."""


@dataclass(frozen=True)
class _Source:
    """A file's stream whose errors can be told from those of the store that it is copied to."""

    stream: IO[bytes]

    def read(self, size: int) -> bytes:
        try:
            return self.stream.read(size)
        except OSError as error:
            raise _SourceError(error.strerror or str(error)) from error


def land(files: Iterable[InboxFile], engine: sa.Engine, store: ObjectStore, most: int) -> Receipt:
    """Take `most` of `files` in; those that cannot be read, or not be removed, stand in no other's way."""
    receipt, taken = Receipt(), 0
    for file in files:
        if taken == most:
            break
        try:
            _land_one(file, engine, store, receipt)
            taken += 1
        except _SourceError as error:
            receipt.failed += 1
            log.error("%s/%s/%s stays in the inbox, it cannot be read: %s", file.topic, file.segment, file.uri, error)
    return receipt


def _land_one(file: InboxFile, engine: sa.Engine, store: ObjectStore, receipt: Receipt) -> None:
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return  # its owner took it back
    except OSError as error:
        raise _SourceError(error.strerror or str(error)) from error
    with os.fdopen(descriptor, "rb") as stream:
        opened = os.fstat(descriptor)
        stored = store.put(_Source(stream))  # type: ignore[arg-type]  # put only reads
        unchanged = _same(opened, os.fstat(descriptor)) and stored.size_bytes == opened.st_size
    if not unchanged:
        receipt.left += 1
        return
    with engine.begin() as connection:
        landing = ledger.land(connection, ledger.Place(file.topic, file.segment, file.uri), stored)
    receipt.landed += landing.result == "landed"
    receipt.duplicates += landing.result == "duplicate"
    receipt.superseded += landing.superseded
    _take_out(file, opened, receipt)


def _take_out(file: InboxFile, opened: os.stat_result, receipt: Receipt) -> None:
    try:
        if _same(opened, os.lstat(file.path)):
            file.path.unlink()
        else:
            receipt.left += 1
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _SourceError(f"it is recorded but cannot be removed: {error.strerror}") from error


def _same(before: os.stat_result, now: os.stat_result) -> bool:
    """Whether it is the same file with the same content, as far as its metadata tells."""
    names = ("st_dev", "st_ino", "st_size", "st_mtime_ns")
    return all(getattr(before, name) == getattr(now, name) for name in names)
