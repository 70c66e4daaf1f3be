"""The manifest of a generation: what it is, and every file that it consists of with its SHA-256."""

import hashlib
import os
import threading
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from cuvee.errors import IntegrityError

MANIFEST = "generation.json"


class FileInfo(BaseModel, frozen=True):
    sha256: str
    bytes: int


class Segment(BaseModel, frozen=True):
    """Some rows with all that is stored about them, in the folder `segments/<id>`."""

    id: str
    """Of the rows themselves: equal rows have equal ids."""
    rows: int
    statements: int
    kind: str
    """Of the vector index, as `vectors.py` names it."""
    lexical_rows: tuple[int, ...]
    """Rows of each part of the lexical index."""

    @property
    def folder(self) -> str:
        """Relative to the index folder."""
        return f"segments/{self.id}"


class Manifest(BaseModel, frozen=True):
    """What a generation is. Holds no times: the same batch built again gives the same bytes."""

    number: int
    embedder: str
    embedder_version: str
    dimension: int
    metric: Literal["cosine"] = "cosine"
    documents: int
    """Living ones, as are the chunks."""
    chunks: int
    chunker: str
    lexical: str = ""
    """Version of the analysis of words."""
    refusal_threshold: float
    tuning: dict[str, float] = Field(default_factory=dict)
    """Weights that were found on a golden set; a micro-batch keeps them."""
    base: Segment | None = None
    delta: Segment | None = None
    """Its rows are numbered on from those of the base."""
    dead: int = 0
    """Rows of base and delta that are not there any more; their numbers are in `tombstones`."""
    tombstones: str | None = None
    dead_words: str | None = None
    """How many of them hold each word; None: none are dead, or an older version wrote this."""
    files: dict[str, FileInfo]
    """By path relative to the index folder."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(segment for segment in (self.base, self.delta) if segment is not None)

    @property
    def rows(self) -> int:
        """Of base and delta, dead ones too."""
        return sum(segment.rows for segment in self.segments)


def generation_folder(index_dir: Path, number: int) -> Path:
    return index_dir / "generations" / f"{number:08d}"


def index_dir_of(folder: Path) -> Path:
    """The index folder that a generation's folder is in."""
    return folder.parent.parent


def read_manifest(folder: Path) -> Manifest:
    """Raises IntegrityError when the manifest is missing or malformed."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}") from error


def file_info(path: Path) -> FileInfo:
    return FileInfo(sha256=sha256(path), bytes=path.stat().st_size)


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileState(NamedTuple):
    """A file as it lies there: while this stays, so does its content."""

    path: str
    device: int
    inode: int
    bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """Raises OSError where it is missing."""
        status = path.stat()
        times = status.st_mtime_ns, status.st_ctime_ns
        return cls(str(path), status.st_dev, status.st_ino, status.st_size, *times)


_verified: dict[FileState, str] = {}
_MOST_VERIFIED = 10_000
_lock = threading.Lock()


def verify(path: Path, info: FileInfo) -> None:
    """Check that a file is what its manifest says.

    A file that this process has hashed before and that was not touched since is not hashed again: generations share the
    base, and a reload must not read gigabytes.

    Raises:
        IntegrityError: it is missing or altered.
    """
    try:
        state = FileState.of(path)
    except OSError as error:
        raise IntegrityError(f"{path} is missing.") from error
    with _lock:
        known = _verified.get(state)
    found = known or sha256(path)
    if state.bytes != info.bytes or found != info.sha256:
        raise IntegrityError(f"{path} is not the file that its manifest describes.")
    if known is None:
        with _lock:
            if len(_verified) >= _MOST_VERIFIED:
                _verified.clear()
            _verified[state] = found
