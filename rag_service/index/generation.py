"""One loaded index generation: base, delta and tombstones as one set of numbered rows that can be searched."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cuvee.errors import IntegrityError
from rag_service.index import filters
from rag_service.index.building import Recipe, build
from rag_service.index.dead_words import read_dead_words
from rag_service.index.filters import Condition
from rag_service.index.lexical import DeadWords, Lexical
from rag_service.index.manifest import MANIFEST, FileInfo, Manifest, index_dir_of, read_manifest
from rag_service.index.publishing import current, next_number, publish
from rag_service.index.rows import SCHEMA, Chunk, Outline, Rows
from rag_service.index.segments import OpenSegment
from rag_service.index.tombstones import read_tombstones
from rag_service.index.vectors import best

__all__ = ["MANIFEST", "Chunk", "FileInfo", "Generation", "Manifest", "Recipe", "Rows", "Scored", "Selection"]
__all__ += ["build", "current", "next_number", "publish", "read_manifest"]

# Asking tantivy for one of a given list of rows costs as much as this many rows more of an open search.
_LISTED_COST = 5
_SELECTIONS_KEPT = 32


class Scored(NamedTuple):
    """Rows and their scores, best first, equal ones by row; shapes (n,)."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Selection:
    """The living rows that a search looks at."""

    mask: NDArray[np.bool_]
    """Shape (rows of the generation,)."""
    count: int

    def __len__(self) -> int:
        return self.count

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Ascending."""
        return np.flatnonzero(self.mask).astype(np.int64)


class Generation:
    """A loaded generation; it never changes, and searching it is safe from several threads."""

    def __init__(
        self, manifest: Manifest, segments: list[OpenSegment], dead: NDArray[np.int64], words: DeadWords
    ) -> None:
        self.manifest = manifest
        self._segments = segments
        self._starts = np.concatenate([[0], np.cumsum([s.segment.rows for s in segments])]).astype(np.int64)
        self._alive = np.ones(int(self._starts[-1]), dtype=np.bool_)
        self._alive[dead] = False
        self._lexical = Lexical([part for segment in segments for part in segment.words], words)
        self._selections: OrderedDict[Condition | None, Selection] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path) -> "Generation":
        """Load `folder` after checking the SHA-256 of every file and that counts and dimension agree.

        Raises:
            IntegrityError: a file is missing, altered or does not fit the others; the message names it.
        """
        manifest = read_manifest(folder)
        index_dir = index_dir_of(folder)
        opened = [OpenSegment.read(index_dir, s, manifest.dimension, manifest.files) for s in manifest.segments]
        loaded = cls(manifest, opened, read_tombstones(index_dir, manifest), read_dead_words(index_dir, manifest))
        living = len(loaded.select(None))
        if living != manifest.chunks:
            raise IntegrityError(f"{folder / MANIFEST} says {manifest.chunks} chunks; {living} are alive.")
        if len(loaded._lexical) != manifest.rows:
            raise IntegrityError(f"The words of {len(loaded._lexical)} rows are in {folder}, not of {manifest.rows}.")
        return loaded

    def select(self, where: Condition | None) -> Selection:
        """The living rows that match; kept for the next search with the same condition."""
        with self._lock:
            known = self._selections.get(where)
            if known is not None:
                self._selections.move_to_end(where)
                return known
        mask = self._alive if where is None else self._alive & filters.matching(where, self._column)
        selection = Selection(mask, int(np.count_nonzero(mask)))
        with self._lock:
            self._selections[where] = selection
            if len(self._selections) > _SELECTIONS_KEPT:
                self._selections.popitem(last=False)
        return selection

    def dense(self, vector: NDArray[np.float32], count: int, selection: Selection) -> Scored:
        """The `count` rows of the selection nearest to the unit vector, with their cosines.

        Where few rows of a segment are selected, all of these are looked at; of many, its index finds the best.
        """
        found = [Scored(np.empty(0, np.int64), np.empty(0, np.float32))]
        for segment, first, last in self._parts():
            wanted = selection.mask[first:last]
            rows, scores = segment.vectors.search(vector, count, alive=None if wanted.all() else wanted)
            found.append(Scored(rows + first, scores))
        return Scored(*best(np.concatenate([f.rows for f in found]), np.concatenate([f.scores for f in found]), count))

    def lexical(self, query: str, count: int, selection: Selection) -> Scored:
        """The `count` rows of the selection with the highest BM25 for the words of `query`; fewer where fewer match."""
        if not len(selection) or count <= 0:
            return Scored(np.empty(0, np.int64), np.empty(0, np.float32))
        asked = int(count * len(selection.mask) / len(selection) * 1.2) + 10
        if len(selection) * _LISTED_COST <= asked:
            return Scored(*self._lexical.search_among(query, count, selection.rows))
        while True:
            rows, scores = self._lexical.search(query, asked)
            chosen = selection.mask[rows]
            if np.count_nonzero(chosen) >= count or len(rows) < asked:
                return Scored(rows[chosen][:count], scores[chosen][:count])
            asked *= 4

    def lexical_of(self, query: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """BM25 of exactly these rows, shape (len(rows),), 0 where no word of `query` occurs."""
        wanted = np.asarray(rows, dtype=np.int64)
        unique, place = np.unique(wanted, return_inverse=True)
        found, scores = self._lexical.search_among(query, len(unique), unique)
        each = np.zeros(len(unique), dtype=np.float32)
        each[np.searchsorted(unique, found)] = scores
        return each[place]

    def rarity(self, stems: Sequence[str]) -> dict[str, float]:
        """How much each stem tells: its inverse document frequency."""
        return self._lexical.rarity(stems)

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The unit vectors of these rows, shape (len(rows), dimension)."""
        rows = np.asarray(rows, dtype=np.int64)
        found = np.empty((len(rows), self.manifest.dimension), dtype=np.float32)
        for segment, first, last in self._parts():
            here = (rows >= first) & (rows < last)
            if here.any():
                found[here] = segment.vectors.reconstruct(rows[here] - first)
        return found

    def statement_vectors(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Vectors of the statements of these rows one after the other, shape (statements, dimension), and where each
        row's begin, shape (len(rows) + 1,)."""
        parts = [np.empty((0, self.manifest.dimension), dtype=np.float16)]
        for row in rows:
            segment, local = self._at(int(row))
            parts.append(segment.statement_vectors[slice(*segment.statement_starts[local : local + 2])])
        offsets = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return np.concatenate(parts).astype(np.float32), offsets

    def chunk(self, row: int) -> Chunk:
        segment, local = self._at(row)
        return segment.chunks.chunk(local)

    def outline(self, row: int) -> Outline:
        segment, local = self._at(row)
        return segment.chunks.outline(local)

    def _parts(self) -> Iterator[tuple[OpenSegment, int, int]]:
        """Each segment with the numbers of its first row and of the row after its last."""
        for position, segment in enumerate(self._segments):
            yield segment, int(self._starts[position]), int(self._starts[position + 1])

    def _at(self, row: int) -> tuple[OpenSegment, int]:
        position = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._segments[position], row - int(self._starts[position])

    def _column(self, name: str) -> pa.ChunkedArray:
        pieces = [piece for segment in self._segments for piece in segment.chunks.column(name)]
        return pa.chunked_array(pieces, SCHEMA.field(name).type)
