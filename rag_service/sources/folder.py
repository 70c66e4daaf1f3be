"""The inbox: `data/inbox/<topic>/<segment>/[sub/]file`. Light imports only; Airflow's triggerer loads this module."""

import logging
import os
import stat
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

log = logging.getLogger(__name__)

UNSORTED = "unsorted"
_UNFINISHED = (".part", ".tmp", ".crdownload")
# A copied file may carry a modification time from a machine whose clock is ahead; then only the change time counts.
_CLOCKS_AGREE_SECONDS = 60.0


@dataclass(frozen=True)
class InboxFile:
    """A file that can be taken. `uri` is unique within topic and segment: printable, NFC, odd characters as `%XX`."""

    path: Path
    topic: str
    segment: str
    uri: str
    size_bytes: int
    modified_at: float
    """Seconds since 1970."""


def list_settled(inbox: Path, settle_seconds: float, now: float | None = None) -> list[InboxFile]:
    """Files in `inbox` that were neither written nor moved for `settle_seconds`, sorted by path.

    Left out: hidden and unfinished files, and symbolic links, which could point at any file of the machine.
    A file that lies in no topic or in no segment gets 'unsorted' for it.
    """
    now = time.time() if now is None else now
    found = []
    for path, status in _files(inbox):
        if _settled(status, settle_seconds, now):
            parts = [printable(part) for part in path.relative_to(inbox).parts]
            topic = parts.pop(0) if len(parts) > 1 else UNSORTED
            segment = parts.pop(0) if len(parts) > 1 else UNSORTED
            found.append(InboxFile(path, topic, segment, "/".join(parts), status.st_size, status.st_mtime))
    return sorted(found, key=lambda file: os.fsencode(file.path))


def printable(name: str) -> str:
    """`name` with its unprintable characters, undecodable bytes and '%' as `%XX`; no two names become one.

    The result is in NFC. A name that is not (é as e and an accent) keeps only its ASCII characters readable.
    """
    escaped = "".join(c if c.isprintable() and c != "%" else _escaped(c) for c in name)
    if unicodedata.is_normalized("NFC", escaped):
        return escaped
    return "".join(c if c.isascii() and c.isprintable() and c != "%" else _escaped(c) for c in name)


def passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden, a lock file of an Office program, or unfinished."""
    return name.startswith((".", "~$")) or name.lower().endswith(_UNFINISHED)


def _escaped(character: str) -> str:
    return quote(os.fsencode(character), safe="")


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Regular files under `folder`, links not followed; what vanishes or may not be read meanwhile is passed over."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%r cannot be listed: %s", str(folder), error.strerror)
        return
    for entry in entries:
        if passed_over(entry.name):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _files(Path(entry.path))
        elif stat.S_ISREG(status.st_mode):
            yield Path(entry.path), status


def _settled(status: os.stat_result, settle_seconds: float, now: float) -> bool:
    ahead = status.st_mtime > now + _CLOCKS_AGREE_SECONDS
    changed = status.st_ctime if ahead else max(status.st_mtime, status.st_ctime)
    return now - changed >= settle_seconds
