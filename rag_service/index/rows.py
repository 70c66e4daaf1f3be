"""Chunks with their vectors, row by row: what a generation is built from and stores."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cuvee.errors import IntegrityError

_ROWS_PER_BATCH = 4096
SCHEMA = pa.schema(
    [
        pa.field("chunk_id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("topic", pa.string(), nullable=False),
        pa.field("segment", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("ordinal", pa.int32(), nullable=False),
        pa.field("page", pa.int32()),
        pa.field("start_char", pa.int64(), nullable=False),
        pa.field("end_char", pa.int64(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Chunk:
    """One passage; `text` is `[start_char:end_char]` of its document's cleaned text."""

    chunk_id: str
    document_id: str
    topic: str
    segment: str
    title: str
    uri: str
    ordinal: int
    page: int | None
    """Page on which it starts, from 1; None where the format has no pages."""
    start_char: int
    end_char: int
    text: str


@dataclass(frozen=True)
class Rows:
    """Row i of `chunks` (columns of SCHEMA) has the unit vector i of `vectors`, shape (rows, dimension), fp32."""

    chunks: pa.Table
    vectors: NDArray[np.float32]

    @classmethod
    def of_batch(cls, table: pa.Table) -> "Rows":
        """From a table that has SCHEMA's columns and `embedding`, a list of floats."""
        embeddings = table.column("embedding").combine_chunks()
        width = len(embeddings[0]) if len(embeddings) else 0
        flat = np.asarray(embeddings.flatten(), dtype=np.float32)
        return cls(table.select(SCHEMA.names).cast(SCHEMA), flat.reshape(len(embeddings), width))

    @classmethod
    def together(cls, sets: Sequence["Rows"]) -> "Rows":
        """All rows of `sets`, by document id and ordinal, so that the same rows always have the same order."""
        chunks = pa.concat_tables([rows.chunks for rows in sets])
        filled = [rows.vectors for rows in sets if len(rows.vectors)] or [sets[0].vectors]
        order = pc.sort_indices(chunks, [("document_id", "ascending"), ("ordinal", "ascending")])
        return cls(chunks.take(order), np.concatenate(filled)[order.to_numpy()])

    def only(self, documents: Collection[str]) -> "Rows":
        """The rows of these documents."""
        wanted = pc.is_in(self.chunks.column("document_id"), pa.array(sorted(documents), pa.string()))
        return Rows(self.chunks.filter(wanted), self.vectors[wanted.to_numpy()])


def write_chunks(path: Path, chunks: pa.Table) -> None:
    """Write an Arrow file whose bytes depend on the rows only."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_table(chunks.combine_chunks(), max_chunksize=_ROWS_PER_BATCH)


def map_chunks(path: Path) -> pa.Table:
    """The rows of an Arrow file, memory-mapped.

    Raises:
        IntegrityError: it is no such file, or has other columns.
    """
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(f"{path} is not an Arrow file: {error}") from error
    if not table.schema.equals(SCHEMA):
        raise IntegrityError(f"{path} has other columns than this version writes.")
    return table


def chunk_at(chunks: pa.Table, row: int) -> Chunk:
    return Chunk(**{field.name: chunks.column(field.name)[row].as_py() for field in fields(Chunk)})
