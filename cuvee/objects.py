"""Raw bytes by their SHA-256, on any fsspec URL: a folder, `s3://`, `gs://` and so on."""

import hashlib
import os
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO

from upath import UPath

from cuvee.errors import IntegrityError, NotFoundError

_BLOCK_BYTES = 1 << 20
_FOLDER_CHARS = 2
_INCOMING = ".incoming-"


@dataclass(frozen=True)
class StoredObject:
    """Identity of stored bytes."""

    sha256: str
    size_bytes: int


class ObjectStore:
    """Content-addressed: writing the same bytes twice is one object, and an object never changes."""

    def __init__(self, url: str) -> None:
        self._root = UPath(url)
        # A remote store makes an object durable when its stream is closed; a file needs fsync.
        self._local = self._root.protocol in ("", "file")

    def _path(self, sha256: str) -> UPath:
        return self._root / sha256[:_FOLDER_CHARS] / sha256

    def put(self, stream: BinaryIO | IO[bytes]) -> StoredObject:
        """Store all that `stream` yields, in blocks; durable when this returns."""
        self._root.mkdir(parents=True, exist_ok=True)
        aside = self._root / f"{_INCOMING}{uuid.uuid4().hex}"
        digest, size = hashlib.sha256(), 0
        try:
            with aside.open("wb") as target:
                while block := stream.read(_BLOCK_BYTES):
                    digest.update(block)
                    size += len(block)
                    target.write(block)
                if self._local:
                    target.flush()
                    os.fsync(target.fileno())
            final = self._path(digest.hexdigest())
            final.parent.mkdir(parents=True, exist_ok=True)
            # Also over the same object: it may be damaged, and is as young then as a new one, so that nobody who tidies
            # up takes it away before it is referred to.
            aside.rename(final)
            if self._local:
                for folder in (final.parent, self._root):
                    _sync_folder(folder)
        finally:
            aside.unlink(missing_ok=True)
        return StoredObject(digest.hexdigest(), size)

    def unused(self, used: Collection[str], before: float) -> Iterator[str]:
        """Hashes of the objects that are not `used` and were last put before that time (seconds since 1970)."""
        if not self._root.exists():
            return
        for folder in self._root.iterdir():
            if len(folder.name) == _FOLDER_CHARS and folder.is_dir():
                for path in folder.iterdir():
                    if path.name not in used and path.stat().st_mtime < before:
                        yield path.name

    def remove_unfinished(self, before: float) -> None:
        """Remove what killed writers left half written before that time (seconds since 1970)."""
        if self._root.exists():
            for path in self._root.iterdir():
                if path.name.startswith(_INCOMING) and path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)

    def remove(self, sha256: str) -> None:
        """Remove an object; that it is gone already is right too."""
        self._path(sha256).unlink(missing_ok=True)

    def read(self, sha256: str) -> bytes:
        """The object's bytes, checked against their hash.

        Raises:
            NotFoundError: no such object.
            IntegrityError: the stored bytes have another hash.
        """
        path = self._path(sha256)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(f"Object {sha256} is not in {self._root}.") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise IntegrityError(f"Object {path} does not have the content its name says; restore it from a backup.")
        return content


def _sync_folder(folder: UPath) -> None:
    descriptor = os.open(str(folder.path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
