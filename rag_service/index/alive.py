"""What of a generation's rows goes into the next one."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rag_service.documents.details import Details
from rag_service.index.manifest import Manifest, Segment, verify
from rag_service.index.rows import ChunkFile
from rag_service.index.segments import OpenSegment
from rag_service.index.tombstones import read_tombstones

_BATCH_ROWS = 8_192


@dataclass(frozen=True)
class Alive:
    """What of a generation's rows is to be in the next one: not dead, of a living document, not indexed anew."""

    index_dir: Path
    manifest: Manifest
    mask: NDArray[np.bool_]
    """Shape (rows of the manifest,)."""
    document_ids: frozenset[str]
    dead_document_ids: frozenset[str]
    """Documents of which the files hold rows that are not alive."""

    @classmethod
    def of(cls, index_dir: Path, manifest: Manifest, documents: Collection[str]) -> "Alive":
        """The rows of `documents`. Raises IntegrityError when the stored chunks are not those of the manifest."""
        pieces = [piece for segment in manifest.segments for piece in _document_ids(index_dir, manifest, segment)]
        ids = pa.chunked_array(pieces, pa.string())
        mask = pc.is_in(ids, pa.array(sorted(documents), pa.string())).to_numpy().astype(np.bool_)
        mask[read_tombstones(index_dir, manifest)] = False
        alive, dead = (frozenset(pc.unique(ids.filter(pa.array(rows))).to_pylist()) for rows in (mask, ~mask))
        return cls(index_dir, manifest, mask, alive, dead)

    def told(self) -> dict[str, tuple[str, Details]]:
        """What the living rows say of each document beside its text: what brought it, author, date, metadata."""
        names = ("document_id", "source", "author", "date", "metadata")
        files = [ChunkFile(self.index_dir / segment.folder / "chunks.arrow") for segment in self.manifest.segments]
        columns = {name: pa.chunked_array([piece for file in files for piece in file.column(name)]) for name in names}
        rows = pa.table(columns).filter(pa.array(self.mask))
        _, firsts = np.unique(rows.column("document_id").to_numpy(), return_index=True)
        return {
            document_id: (source, Details(author, date, dict(metadata or ())))
            for document_id, source, author, date, metadata in (row.values() for row in rows.take(firsts).to_pylist())
        }

    def passages(self) -> Iterator[tuple[str, int, int, str]]:
        """Document, start, end and text of each living row, in the order of the files."""
        names, first = ("document_id", "start_char", "end_char", "text"), 0
        for segment in self.manifest.segments:
            file = ChunkFile(self.index_dir / segment.folder / "chunks.arrow")
            for columns in zip(*(file.column(name) for name in names), strict=True):
                rows = pa.array(self.mask[first : first + len(columns[0])])
                first += len(columns[0])
                yield from zip(*(column.filter(rows).to_pylist() for column in columns), strict=True)

    def titles_and_texts(self, rows: NDArray[np.int64]) -> Iterator[tuple[str, str]]:
        """Of these rows of the manifest, dead or alive; they ascend."""
        first = 0
        for segment in self.manifest.segments:
            file = ChunkFile(self.index_dir / segment.folder / "chunks.arrow")
            local = rows[(rows >= first) & (rows < first + segment.rows)] - first
            first += segment.rows
            for at in range(0, len(local), _BATCH_ROWS):
                taken = file.take(local[at : at + _BATCH_ROWS])
                yield from zip(*(taken.column(name).to_pylist() for name in ("title", "text")), strict=True)

    @property
    def chunks(self) -> int:
        return int(self.mask.sum())

    def survivors(self, segment: Segment) -> tuple[OpenSegment, NDArray[np.int64]]:
        """The opened segment, and the numbers within it of its living rows."""
        first = 0 if segment == self.manifest.base else self.manifest.rows - segment.rows
        opened = OpenSegment.read(self.index_dir, segment, self.manifest.dimension, self.manifest.files)
        return opened, np.flatnonzero(self.mask[first : first + segment.rows]).astype(np.int64)


def _document_ids(index_dir: Path, manifest: Manifest, segment: Segment) -> list[pa.Array]:
    name = f"{segment.folder}/chunks.arrow"
    verify(index_dir / name, manifest.files[name])
    return ChunkFile(index_dir / name).column("document_id")
