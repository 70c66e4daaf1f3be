"""Segments: some rows with their vectors, texts and words, written once, never changed, named by their content.

Files in `segments/<id>/`: `chunks.arrow`, `vectors.faiss` and, of many, `vectors.f16`, `statements.f16` (the vectors of
all statements in order, fp16, row by row), `lexical-<part>.*`, and `segment.json`, by which a repeated build finds what
it would write again.
"""

import hashlib
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from cuvee.errors import IntegrityError
from rag_service.index import lexical, vectors
from rag_service.index.manifest import FileInfo, Segment, file_info, sha256, sync, verify
from rag_service.index.rows import STATEMENTS, ChunkFile, Rows, spans, statement_starts, write_chunks
from rag_service.index.vectors import Vectors

_CHUNKS, _VECTORS, _STATEMENTS, _DESCRIPTION = "chunks.arrow", "vectors.faiss", "statements.f16", "segment.json"
_RAW = "vectors.f32"
_BATCH_ROWS = 16_384


class Written(BaseModel, frozen=True):
    """A segment and its files, by path relative to the index folder."""

    segment: Segment
    files: dict[str, FileInfo]


def write(index_dir: Path, batches: Iterable[Rows], dimension: int, first_row: int) -> Written | None:
    """Write a segment whose rows are numbered from `first_row` on, aside; sync it and put it in its place.

    Holds one of `batches` at a time and what the vector index needs. None where there are no rows.
    """
    folder = index_dir / "segments"
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".building-{uuid.uuid4().hex}"
    aside.mkdir()
    try:
        rows = _write_rows(aside, batches, dimension)
        if not rows:
            return None
        parts = [sha256(aside / name) for name in (_CHUNKS, _RAW, _STATEMENTS)]
        identity = hashlib.sha256(
            "\0".join([*parts, str(first_row), vectors.VERSION, lexical.VERSION]).encode()
        ).hexdigest()[:32]
        place = folder / identity
        found = _found(index_dir, place)
        if found is not None:
            return found
        written = _finish(aside, identity, rows, dimension, first_row)
        if place.exists():
            place.rename(folder / f".damaged-{uuid.uuid4().hex}")
        aside.rename(place)
        sync(folder)
        return written
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_rows(aside: Path, batches: Iterable[Rows], dimension: int) -> int:
    with (aside / _RAW).open("wb") as raw, (aside / _STATEMENTS).open("wb") as packed:

        def tables() -> Iterator[pa.Table]:
            for rows in batches:
                if rows.vectors.shape[1] != dimension:
                    raise IntegrityError(
                        f"Vectors of {rows.vectors.shape[1]} numbers cannot be added to an index of {dimension}; "
                        "nothing was published."
                    )
                raw.write(np.ascontiguousarray(rows.vectors, dtype=np.float32).data)
                packed.write(np.ascontiguousarray(rows.statement_vectors, dtype=np.float16).data)
                yield rows.chunks

        return write_chunks(aside / _CHUNKS, tables())


def _finish(aside: Path, identity: str, rows: int, dimension: int, first_row: int) -> Written:
    raw = np.memmap(aside / _RAW, dtype=np.float32, mode="r", shape=(rows, dimension))
    batches = (np.array(raw[at : at + _BATCH_ROWS]) for at in range(0, rows, _BATCH_ROWS))
    kind = vectors.build(aside / _VECTORS, batches, rows, dimension)
    del raw
    (aside / _RAW).unlink()
    chunks = ChunkFile(aside / _CHUNKS)
    sizes = [min(lexical.PART_ROWS, rows - at) for at in range(0, rows, lexical.PART_ROWS)]
    for part, size in enumerate(sizes):
        first = part * lexical.PART_ROWS
        texts = chunks.take(np.arange(first, first + size))
        lexical.write_part(
            aside / f"lexical-{part}",
            first_row + first,
            (title.as_py() for title in texts.column("title")),
            (text.as_py() for text in texts.column("text")),
        )
    segment = Segment(
        id=identity,
        rows=rows,
        statements=(aside / _STATEMENTS).stat().st_size // (2 * dimension),
        kind=kind,
        lexical_rows=tuple(sizes),
    )
    files = {f"{segment.folder}/{path.name}": file_info(path) for path in sorted(aside.iterdir())}
    written = Written(segment=segment, files=files)
    (aside / _DESCRIPTION).write_text(written.model_dump_json(indent=2) + "\n")
    for path in (*aside.iterdir(), aside):
        sync(path)
    return written


def _found(index_dir: Path, place: Path) -> Written | None:
    """What a build before this one wrote under this name, if all of it is whole."""
    try:
        written = Written.model_validate_json((place / _DESCRIPTION).read_bytes())
        for name, info in written.files.items():
            verify(index_dir / name, info)
    except (OSError, ValidationError, IntegrityError):
        return None
    return written


@dataclass(frozen=True)
class OpenSegment:
    """A segment's files, opened; reading is safe from several threads. Rows are counted from 0 within it."""

    segment: Segment
    chunks: ChunkFile
    vectors: Vectors
    statement_vectors: NDArray[np.float16]
    statement_starts: NDArray[np.int64]
    """Shape (rows + 1,)."""
    words: tuple[lexical.Part, ...]

    @classmethod
    def read(cls, index_dir: Path, segment: Segment, dimension: int, files: Mapping[str, FileInfo]) -> "OpenSegment":
        """Open a segment after checking its files.

        Raises:
            IntegrityError: a file is missing, altered, or does not fit the others; the message names it.
        """
        folder = index_dir / segment.folder
        for name, info in files.items():
            if name.startswith(f"{segment.folder}/"):
                verify(index_dir / name, info)
        chunks, found = ChunkFile(folder / _CHUNKS), Vectors.read(folder / _VECTORS)
        if len(chunks) != segment.rows:
            raise IntegrityError(f"{folder / _CHUNKS} has {len(chunks)} chunks; the manifest says {segment.rows}.")
        if (len(found), found.dimension) != (segment.rows, dimension):
            raise IntegrityError(
                f"{folder / _VECTORS} has {len(found)} vectors of {found.dimension} numbers; "
                f"the manifest says {segment.rows} of {dimension}."
            )
        starts = statement_starts(pa.chunked_array(chunks.column("statements"), STATEMENTS))
        if starts[-1] != segment.statements:
            raise IntegrityError(
                f"{folder / _CHUNKS} has {starts[-1]} statements; the manifest says {segment.statements}."
            )
        packed = _map_statements(folder / _STATEMENTS, segment.statements, dimension)
        words = tuple(
            lexical.Part(_part_id(segment, part), folder / f"lexical-{part}", rows)
            for part, rows in enumerate(segment.lexical_rows)
        )
        return cls(segment, chunks, found, packed, starts, words)

    def rows(self, rows: NDArray[np.int64]) -> Rows:
        """These rows, which ascend, with all that belongs to them."""
        packed = self.statement_vectors[spans(self.statement_starts, rows)]
        return Rows(self.chunks.take(rows), self.vectors.reconstruct(rows), packed)


def _map_statements(path: Path, count: int, dimension: int) -> NDArray[np.float16]:
    if not count:
        return np.empty((0, dimension), dtype=np.float16)
    try:
        return np.asarray(np.memmap(path, dtype=np.float16, mode="r", shape=(count, dimension)))
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} does not hold {count} vectors of {dimension} numbers: {error}") from error


def _part_id(segment: Segment, part: int) -> str:
    return hashlib.sha256(f"{segment.id}/{part}".encode()).hexdigest()[:32]
