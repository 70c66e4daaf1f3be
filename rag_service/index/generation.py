"""An index generation: immutable files with one manifest, built aside, published in one transaction, then loaded.

Files: `vectors.faiss`, `chunks.arrow` (row i belongs to vector i; memory-mapped) and `generation.json`, the manifest.
"""

import hashlib
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from cuvee.database import INDEX_CHANNEL, index_generations, notify
from cuvee.errors import IntegrityError
from rag_service.index import vectors
from rag_service.index.rows import Chunk, Rows, chunk_at, map_chunks, write_chunks
from rag_service.index.vectors import Vectors

__all__ = ["Chunk", "FileInfo", "Generation", "Hit", "Manifest", "Recipe", "Rows", "build", "current", "publish"]

MANIFEST = "generation.json"
_VECTORS, _CHUNKS = "vectors.faiss", "chunks.arrow"
_GENERATIONS_KEPT = 3


@dataclass(frozen=True)
class Hit:
    """A chunk that was found, with the cosine of its vector and the question's."""

    chunk: Chunk
    score: float


class FileInfo(BaseModel, frozen=True):
    sha256: str
    bytes: int


class Manifest(BaseModel, frozen=True):
    """What a generation is. Holds no times: the same batch built again gives the same bytes."""

    number: int
    embedder: str
    embedder_version: str
    dimension: int
    metric: Literal["cosine"] = "cosine"
    documents: int
    chunks: int
    chunker: str
    refusal_threshold: float
    files: dict[str, FileInfo]


@dataclass(frozen=True)
class Recipe:
    """What everything in a generation was made with; vectors of two recipes are never mixed."""

    embedder: str
    embedder_version: str
    chunker: str
    refusal_threshold: float


class Generation:
    """A loaded generation; it never changes, and searching it is safe from several threads."""

    def __init__(self, manifest: Manifest, chunks: pa.Table, found: Vectors) -> None:
        self.manifest = manifest
        self._chunks = chunks
        self._vectors = found
        self._by_column = {name: chunks.column(name).combine_chunks() for name in ("topic", "segment")}

    @classmethod
    def load(cls, folder: Path) -> "Generation":
        """Load `folder` after checking the SHA-256 of every file and that counts and dimension agree.

        Raises:
            IntegrityError: a file is missing, altered or does not fit the others; the message names it.
        """
        manifest = read_manifest(folder)
        for name, info in manifest.files.items():
            _verify(folder / name, info)
        chunks = map_chunks(folder / _CHUNKS)
        found = Vectors.read(folder / _VECTORS)
        if chunks.num_rows != manifest.chunks:
            raise IntegrityError(f"{folder / _CHUNKS} has {chunks.num_rows} chunks; {MANIFEST} says {manifest.chunks}.")
        if (len(found), found.dimension) != (manifest.chunks, manifest.dimension):
            raise IntegrityError(
                f"{folder / _VECTORS} has {len(found)} vectors of {found.dimension} numbers; "
                f"{MANIFEST} says {manifest.chunks} of {manifest.dimension}."
            )
        return cls(manifest, chunks, found)

    def search(
        self, vector: NDArray[np.float32], top_k: int, topic: str | None = None, segment: str | None = None
    ) -> list[Hit]:
        """The `top_k` chunks nearest to the unit vector, shape (dimension,), among those of `topic` and `segment`.

        Exact, best first; equal scores in row order; fewer hits where fewer chunks match.
        """
        rows, scores = self._vectors.search(vector, top_k, self._matching(topic, segment))
        return [Hit(chunk_at(self._chunks, int(row)), float(score)) for row, score in zip(rows, scores, strict=True)]

    def rows(self) -> Rows:
        """All chunks with their vectors, for building the next generation from."""
        return Rows(self._chunks, self._vectors.all())

    def _matching(self, topic: str | None, segment: str | None) -> NDArray[np.int64] | None:
        mask = None
        for name, wanted in (("topic", topic), ("segment", segment)):
            if wanted is not None:
                matches = pc.equal(self._by_column[name], wanted)
                mask = matches if mask is None else pc.and_(mask, matches)
        return None if mask is None else np.flatnonzero(mask.to_numpy(zero_copy_only=False)).astype(np.int64)


def build(index_dir: Path, number: int, rows: Rows, recipe: Recipe) -> Path:
    """Write generation `number`, which was never published, aside; sync it and rename it into place; its folder."""
    folder = generation_folder(index_dir, number)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(folder.parent)
    aside = folder.parent / f".building-{uuid.uuid4().hex}"
    aside.mkdir()
    vectors.write(aside / _VECTORS, rows.vectors)
    write_chunks(aside / _CHUNKS, rows.chunks)
    manifest = Manifest(
        number=number,
        embedder=recipe.embedder,
        embedder_version=recipe.embedder_version,
        dimension=rows.vectors.shape[1],
        documents=len(pc.unique(rows.chunks.column("document_id"))),
        chunks=rows.chunks.num_rows,
        chunker=recipe.chunker,
        refusal_threshold=recipe.refusal_threshold,
        files={name: _info(aside / name) for name in (_CHUNKS, _VECTORS)},
    )
    (aside / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
    for path in (*aside.iterdir(), aside):
        _sync(path)
    # What a killed run left under this number was never published, so nobody reads it.
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    _sync(folder.parent)
    return folder


def publish(connection: sa.Connection, folder: Path) -> Manifest:
    """Make the built generation the published one, and tell the listeners, when this transaction commits."""
    manifest = read_manifest(folder)
    table = index_generations
    connection.execute(sa.update(table).where(table.c.state == "published").values(state="retired"))
    row = {
        "number": manifest.number,
        "state": "published",
        "manifest_sha256": _sha256(folder / MANIFEST),
        "embedder": manifest.embedder_version,
        "documents": manifest.documents,
        "chunks": manifest.chunks,
    }
    connection.execute(sa.insert(table).values(**row))
    notify(connection, INDEX_CHANNEL, str(manifest.number))
    return manifest


def next_number(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        last = connection.execute(sa.select(sa.func.max(index_generations.c.number))).scalar_one()
    return (last or 0) + 1


def current(engine: sa.Engine, index_dir: Path) -> Path | None:
    """Folder of the published generation; None before the first one.

    Raises:
        IntegrityError: its manifest is missing or is not the one that was published.
    """
    statement = sa.select(index_generations).where(index_generations.c.state == "published")
    with engine.connect() as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    folder = generation_folder(index_dir, row.number)
    manifest = folder / MANIFEST
    if not manifest.is_file() or _sha256(manifest) != row.manifest_sha256:
        raise IntegrityError(f"{manifest} is missing or is not what was published; restore {index_dir} from a backup.")
    return folder


def remove_old(index_dir: Path, number: int) -> None:
    """Remove all but the last few generations up to `number`; a service may still be loading the one before."""
    for folder in (index_dir / "generations").glob("[0-9]" * 8):
        if int(folder.name) <= number - _GENERATIONS_KEPT:
            shutil.rmtree(folder)


def generation_folder(index_dir: Path, number: int) -> Path:
    return index_dir / "generations" / f"{number:08d}"


def read_manifest(folder: Path) -> Manifest:
    """Raises IntegrityError when the manifest is missing or malformed."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}") from error


def document_ids(folder: Path) -> set[str]:
    """The documents of a generation that is known to be sound."""
    return set(pc.unique(map_chunks(folder / _CHUNKS).column("document_id")).to_pylist())


def _verify(path: Path, info: FileInfo) -> None:
    if not path.is_file():
        raise IntegrityError(f"{path} is missing.")
    if path.stat().st_size != info.bytes or _sha256(path) != info.sha256:
        raise IntegrityError(f"{path} is not the file that its manifest describes.")


def _info(path: Path) -> FileInfo:
    return FileInfo(sha256=_sha256(path), bytes=path.stat().st_size)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_unfinished(folder: Path) -> None:
    for left in folder.glob(".building-*"):
        shutil.rmtree(left)
