"""Chunks with their vectors, row by row: what a generation is built from and stores."""

import datetime
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cuvee.errors import IntegrityError
from rag_service.documents.statements import Statement

ROWS_PER_BATCH = 4096
STATEMENTS = pa.list_(
    pa.struct([("text", pa.string()), ("context", pa.string()), ("start", pa.int32()), ("end", pa.int32())])
)
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
        pa.field("source", pa.string()),
        pa.field("author", pa.string()),
        pa.field("date", pa.date32()),
        pa.field("metadata", pa.map_(pa.string(), pa.string())),
        pa.field("statements", STATEMENTS),
        pa.field("page_breaks", pa.list_(pa.int32())),
    ]
)
_LATER = "page_breaks"
"""Files and batches made before there was this column are read as if it were null."""


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
    source: str = "inbox"
    author: str | None = None
    date: datetime.date | None = None
    """When the document was published, as it says itself."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    statements: tuple[Statement, ...] = ()
    page_breaks: tuple[int, ...] = ()
    """Offsets in `text` at which the pages after `page` begin, ascending; empty also where they are not known."""

    def page_at(self, offset: int) -> int | None:
        """Page that holds the character at `offset` of `text`."""
        return None if self.page is None else self.page + bisect_right(self.page_breaks, offset)


class Outline(NamedTuple):
    """Of a chunk, what it is ranked by: read for many chunks where few are then read whole."""

    chunk_id: str
    title: str
    statements: list[str]


@dataclass(frozen=True)
class Rows:
    """Row i of `chunks` (columns of SCHEMA) has the unit vector i of `vectors`, shape (rows, dimension), fp32.

    `statement_vectors` are those of all statements of all rows in order, shape (statements, dimension), fp16.
    """

    chunks: pa.Table
    vectors: NDArray[np.float32]
    statement_vectors: NDArray[np.float16] = field(default_factory=lambda: np.empty((0, 0), np.float16))

    def __post_init__(self) -> None:
        if not len(self.statement_vectors):
            object.__setattr__(self, "statement_vectors", np.empty((0, self.vectors.shape[1]), np.float16))
        if len(self.statement_vectors) != self.statement_starts()[-1]:
            raise IntegrityError(
                f"{len(self.statement_vectors)} vectors of statements, but {self.statement_starts()[-1]} statements."
            )

    @classmethod
    def of_batch(cls, table: pa.Table) -> "Rows":
        """From a table of SCHEMA's columns, `embedding` (fp32 bytes) and `statement_embeddings` (fp16 bytes)."""
        vectors = _matrix(table.column("embedding").to_pylist(), np.float32, table.num_rows)
        packed = _matrix(table.column("statement_embeddings").to_pylist(), np.float16, None, vectors.shape[1])
        return cls(_with_later(table).select(SCHEMA.names).cast(SCHEMA), vectors, packed)

    @classmethod
    def together(cls, sets: Sequence["Rows"]) -> "Rows":
        """All rows of `sets`, by document id and ordinal, so that the same rows always have the same order."""
        whole = cls._joined(sets)
        by = [("document_id", "ascending"), ("ordinal", "ascending")]
        return whole.take(pc.sort_indices(whole.chunks, by).to_numpy().astype(np.int64))

    def only(self, documents: Collection[str]) -> "Rows":
        """The rows of these documents."""
        wanted = pc.is_in(self.chunks.column("document_id"), pa.array(sorted(documents), pa.string()))
        return self.take(np.flatnonzero(wanted.to_numpy()))

    def take(self, rows: NDArray[np.int64]) -> "Rows":
        """These rows, in this order."""
        statements = spans(self.statement_starts(), rows)
        return Rows(self.chunks.take(pa.array(rows)), self.vectors[rows], self.statement_vectors[statements])

    def statement_starts(self) -> NDArray[np.int64]:
        """Where each row's statements begin in `statement_vectors`, shape (rows + 1,)."""
        return statement_starts(self.chunks.column("statements"))

    @classmethod
    def _joined(cls, sets: Sequence["Rows"]) -> "Rows":
        filled = [rows for rows in sets if len(rows.vectors)] or [sets[0]]
        return cls(
            pa.concat_tables([rows.chunks for rows in filled]),
            np.concatenate([rows.vectors for rows in filled]),
            np.concatenate([rows.statement_vectors for rows in filled]),
        )


def statement_starts(statements: pa.ChunkedArray) -> NDArray[np.int64]:
    """Shape (rows + 1,): where each row's statements begin among those of all rows."""
    lengths = pc.fill_null(pc.list_value_length(statements), 0)
    return np.concatenate([[0], np.cumsum(lengths.to_numpy(), dtype=np.int64)]).astype(np.int64)


def spans(starts: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The indices `starts[r]` to `starts[r + 1]` of each row r, in the order of `rows`."""
    first, length = starts[rows], starts[rows + 1] - starts[rows]
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return np.asarray(np.repeat(first, length) + within, dtype=np.int64)


class ChunkFile:
    """The rows of an Arrow file, memory-mapped; reading it is safe from several threads."""

    def __init__(self, path: Path) -> None:
        """Raises IntegrityError when it is no such file, or has other columns."""
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self._batches = [_with_later(reader.get_batch(n)) for n in range(reader.num_record_batches)]
        except (pa.ArrowInvalid, OSError) as error:
            raise IntegrityError(f"{path} is not an Arrow file: {error}") from error
        if not _with_later(reader.schema.empty_table()).schema.equals(SCHEMA):
            raise IntegrityError(f"{path} has other columns than this version writes.")
        self._starts = np.concatenate([[0], np.cumsum([len(batch) for batch in self._batches])]).astype(np.int64)
        self._opened = [_OpenBatch(batch) for batch in self._batches]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def column(self, name: str) -> list[pa.Array]:
        """The column in pieces."""
        return [batch.column(name) for batch in self._batches]

    def chunk(self, row: int) -> Chunk:
        batch, local = self._at(row)
        return batch.chunk(local)

    def outline(self, row: int) -> Outline:
        batch, local = self._at(row)
        return batch.outline(local)

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """These rows, which ascend."""
        parts = []
        batches = np.searchsorted(self._starts, rows, side="right") - 1
        for batch in np.unique(batches):
            local = rows[batches == batch] - self._starts[batch]
            parts.append(self._batches[batch].take(pa.array(local)))
        return pa.Table.from_batches(parts, SCHEMA)

    def _at(self, row: int) -> tuple["_OpenBatch", int]:
        batch = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._opened[batch], row - int(self._starts[batch])


def write_chunks(path: Path, tables: Iterator[pa.Table]) -> int:
    """Write an Arrow file whose bytes depend on the rows only, not on how they come in tables; how many rows."""
    count, held = 0, SCHEMA.empty_table()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for table in tables:
            held = pa.concat_tables([held, table.cast(SCHEMA)]).combine_chunks()
            count += table.num_rows
            whole = held.num_rows - held.num_rows % ROWS_PER_BATCH
            for first in range(0, whole, ROWS_PER_BATCH):
                _write_batch(writer, held.slice(first, ROWS_PER_BATCH))
            held = held.slice(whole)
        if held.num_rows:
            _write_batch(writer, held)
    return count


def _write_batch(writer: Any, table: pa.Table) -> None:
    # A copy: a slice would carry the offsets of the table that it was cut from into the file.
    copied = table.take(pa.array(np.arange(table.num_rows)))
    for batch in copied.combine_chunks().to_batches():
        writer.write_batch(batch)


def _with_later(rows: Any) -> Any:
    """A table or batch with the column that older ones lack."""
    if _LATER in rows.schema.names:
        return rows
    field = SCHEMA.field(_LATER)
    return rows.append_column(field, pa.nulls(rows.num_rows, field.type))


def _matrix(packed: list[bytes], kind: Any, rows: int | None, width: int | None = None) -> NDArray[Any]:
    flat = np.frombuffer(b"".join(packed), dtype=kind)
    if width is None:
        width = len(flat) // rows if rows else 0
    return flat.reshape(-1, width) if width else flat.reshape(0, 0)


class _OpenBatch:
    """Columns at hand: `RecordBatch.to_pylist` of one row takes three times as long."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        *plain, self._metadata, statements, self._page_breaks = batch.columns
        self._plain = dict(zip(SCHEMA.names, plain, strict=False))
        self._statement_starts = statements.offsets.to_numpy()
        self._statement_fields = [statements.values.field(number) for number in range(STATEMENTS.value_type.num_fields)]

    def chunk(self, row: int) -> Chunk:
        first, last = self._statement_starts[row : row + 2].tolist()
        told = zip(*(column.slice(first, last - first).to_pylist() for column in self._statement_fields), strict=True)
        record = {name: column[row].as_py() for name, column in self._plain.items()}
        record["source"] = record["source"] or "inbox"
        metadata = dict(self._metadata[row].as_py() or ())
        breaks = tuple(self._page_breaks[row].as_py() or ())
        return Chunk(
            **record, metadata=metadata, statements=tuple(Statement(*fields) for fields in told), page_breaks=breaks
        )

    def outline(self, row: int) -> Outline:
        first, last = self._statement_starts[row : row + 2].tolist()
        said = self._statement_fields[0].slice(first, last - first).to_pylist()
        return Outline(self._plain["chunk_id"][row].as_py(), self._plain["title"][row].as_py(), said)
