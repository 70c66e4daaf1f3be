"""Raw bytes by their SHA-256, on any fsspec URL: a folder, `s3://`, `gs://` and so on."""

import hashlib
import os
import uuid
from dataclasses import dataclass
from typing import IO, BinaryIO

from upath import UPath

from cuvee.errors import IntegrityError, NotFoundError

_BLOCK_BYTES = 1 << 20


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
        return self._root / sha256[:2] / sha256

    def put(self, stream: BinaryIO | IO[bytes]) -> StoredObject:
        """Store all that `stream` yields, in blocks; durable when this returns."""
        self._root.mkdir(parents=True, exist_ok=True)
        aside = self._root / f".incoming-{uuid.uuid4().hex}"
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
            if not final.exists():
                final.parent.mkdir(parents=True, exist_ok=True)
                aside.rename(final)
                if self._local:
                    _sync_folder(final.parent)
        finally:
            aside.unlink(missing_ok=True)
        return StoredObject(digest.hexdigest(), size)

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
