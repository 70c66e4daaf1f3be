"""Building the next generation aside: a new delta and tombstones, or everything that is alive in a new base."""

import os
import shutil
import sys
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from rag_service.index import dead_words, lexical, segments
from rag_service.index.alive import Alive
from rag_service.index.dead_words import Counts, read_dead_words, write_dead_words
from rag_service.index.making import Making
from rag_service.index.manifest import (
    MANIFEST,
    Manifest,
    Segment,
    file_info,
    generation_folder,
    index_dir_of,
    read_manifest,
    sync,
    verify,
)
from rag_service.index.rows import Rows
from rag_service.index.segments import Written
from rag_service.index.tombstones import read_tombstones, write_tombstones

_TOMBSTONES, _DEAD_WORDS = "tombstones.i64", "dead-words.arrow"
_BATCH_ROWS = 8_192


@dataclass(frozen=True)
class Recipe:
    """What everything in a generation was made with; vectors of two embedders are never mixed."""

    embedder: str
    embedder_version: str
    chunker: str
    """Of its first rows: an edition of the code that cuts otherwise adds its own beside them."""
    refusal_threshold: float
    tuning: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_making(cls, making: Making, refusal_threshold: float, tuning: Mapping[str, float]) -> "Recipe":
        return cls(making.model.id, making.model.version, making.chunker, refusal_threshold, tuning)

    @classmethod
    def of(cls, made: Manifest) -> "Recipe":
        return cls(made.embedder, made.embedder_version, made.chunker, made.refusal_threshold, made.tuning)


@dataclass(frozen=True)
class FoldingRule:
    """When delta and tombstones are folded into a new base; the fields are settings of the same names."""

    delta_share: float
    delta_least_rows: int
    delta_most_rows: int
    dead_share: float

    def folds(self, base_rows: int, delta_rows: int, dead: int) -> bool:
        large = delta_rows > self.delta_least_rows and delta_rows > self.delta_share * base_rows
        return large or delta_rows > self.delta_most_rows or dead > self.dead_share * (base_rows + delta_rows)


_NEVER = FoldingRule(delta_share=1.0, delta_least_rows=sys.maxsize, delta_most_rows=sys.maxsize, dead_share=1.0)


def build(index_dir: Path, number: int, rows: Rows, recipe: Recipe) -> Path:
    """Write generation `number`, which was never published, aside, of these rows; its folder."""
    return build_from(index_dir, number, [rows], rows.vectors.shape[1], recipe)


def build_from(index_dir: Path, number: int, batches: Iterable[Rows], dimension: int, recipe: Recipe) -> Path:
    """The same of many rows, in bounded memory.

    Args:
        batches: one is held at a time; by document id, also from one to the next, each document in one.
    """
    remove_unfinished(index_dir)
    documents = chunks = 0

    def counted() -> Iterator[Rows]:
        nonlocal documents, chunks
        for rows in batches:
            documents += _documents_of(rows)
            chunks += len(rows.vectors)
            yield rows

    base = segments.write(index_dir, counted(), dimension, 0)
    described = _described(recipe, dimension, documents, chunks)
    return _assemble(index_dir, number, described, base, None, np.empty(0, np.int64))


def adopt(index_dir: Path, built: Path) -> Manifest:
    """Link the base of a generation that was built in an index folder of its own into `index_dir`; its manifest.

    Both folders are on one file system. Until something is published that refers to the base, it may be reclaimed; then
    it is linked again.

    Raises:
        IntegrityError: a file is missing or altered.
    """
    manifest = read_manifest(built)
    assert manifest.base is not None
    here, there = index_dir / manifest.base.folder, index_dir_of(built) / manifest.base.folder
    remove_unfinished(index_dir)
    if not here.exists() and there.exists():
        aside = here.with_name(f".building-{uuid.uuid4().hex}")
        shutil.copytree(there, aside, copy_function=os.link)
        sync(aside)
        aside.rename(here)
        sync(here.parent)
    for name, info in manifest.files.items():
        verify(index_dir / name, info)
    return manifest


def extend(number: int, alive: Alive, fresh: Rows | None, recipe: Recipe, rule: FoldingRule) -> Path:
    """Write generation `number` aside: what is alive and the rows of `fresh`. Raises IntegrityError as `Alive.of`.

    Only delta and tombstones are written, unless `rule` says that it is time for a new base.
    """
    remove_unfinished(alive.index_dir)
    present = alive.manifest
    base = present.base
    base_rows = base.rows if base else 0
    dead = np.flatnonzero(~alive.mask).astype(np.int64)
    delta_rows = int(alive.mask[base_rows:].sum()) + _rows_of(fresh)
    if base is None or not alive.chunks or rule.folds(base_rows, delta_rows, int((dead < base_rows).sum())):
        return fold(number, alive, fresh, recipe)
    described = _described(
        recipe, present.dimension, len(alive.document_ids) + _documents_of(fresh), alive.chunks + _rows_of(fresh)
    )
    kept = _written(present, base)
    if _rows_of(fresh):
        rows, dead = _small(alive, fresh), dead[dead < base.rows]
        delta = segments.write(alive.index_dir, [rows] if rows else [], present.dimension, base.rows)
    else:
        delta = _written(present, present.delta)
    return _assemble(alive.index_dir, number, described, kept, delta, dead, _dead_words(alive, dead))


def fold(number: int, alive: Alive, fresh: Rows | None, recipe: Recipe) -> Path:
    """Write generation `number` aside: what is alive and the rows of `fresh`, in a new base, in bounded memory."""
    remove_unfinished(alive.index_dir)
    # Where nothing is left, what comes now may be of another embedder.
    dimension = fresh.vectors.shape[1] if fresh is not None and not alive.chunks else alive.manifest.dimension
    base = segments.write(alive.index_dir, _merged(alive, _small(alive, fresh)), dimension, 0)
    described = _described(
        recipe, dimension, len(alive.document_ids) + _documents_of(fresh), alive.chunks + _rows_of(fresh)
    )
    return _assemble(alive.index_dir, number, described, base, None, np.empty(0, np.int64))


def trim(folder: Path, documents: Collection[str]) -> Path:
    """Leave all but `documents` out of a generation that was built and not published yet; its folder."""
    manifest = read_manifest(folder)
    alive = Alive.of(index_dir_of(folder), manifest, documents)
    return extend(manifest.number, alive, None, Recipe.of(manifest), _NEVER)


def remove_unfinished(index_dir: Path) -> None:
    """Remove what killed builds left; nobody ever read it."""
    for left in (*index_dir.glob("generations/.building-*"), *index_dir.glob("segments/.*-*")):
        shutil.rmtree(left)


def _small(alive: Alive, fresh: Rows | None) -> Rows | None:
    """Living rows of the delta and fresh ones, in order."""
    parts = [fresh] if fresh is not None else []
    if alive.manifest.delta is not None:
        delta, rows = alive.survivors(alive.manifest.delta)
        parts.append(delta.rows(rows))
    parts = [part for part in parts if len(part.vectors)]
    return Rows.together(parts) if parts else None


def _merged(alive: Alive, small: Rows | None) -> Iterator[Rows]:
    """Living rows of the base with those of `small` between them, by document id."""
    ids = np.array(small.chunks.column("document_id").to_pylist() if small else [], dtype=object)
    taken = 0
    if alive.manifest.base is not None:
        base, rows = alive.survivors(alive.manifest.base)
        for at in range(0, len(rows), _BATCH_ROWS):
            batch = base.rows(rows[at : at + _BATCH_ROWS])
            last = batch.chunks.column("document_id")[-1].as_py()
            until = taken + int(np.searchsorted(ids[taken:], last, side="right"))
            if small is not None and until > taken:
                batch = Rows.together([batch, small.take(np.arange(taken, until))])
                taken = until
            yield batch
    if small is not None and taken < len(ids):
        yield small.take(np.arange(taken, len(ids)))


def _dead_words(alive: Alive, dead: NDArray[np.int64]) -> Counts:
    """Words of the rows `dead` of the present base and delta; only those are read that were not dead before."""
    present = alive.manifest
    known, before = read_dead_words(alive.index_dir, present), read_tombstones(alive.index_dir, present)
    if not known.rows:
        before = before[:0]
    counts = dead_words.count(alive.titles_and_texts(np.setdiff1d(dead, before)))
    no_more = dead_words.count(alive.titles_and_texts(np.setdiff1d(before, dead)))
    for name, of_field in counts.items():
        of_field.update(known.counts.get(name, {}))
        of_field.subtract(no_more[name])
    return counts


def _written(manifest: Manifest, segment: Segment | None) -> Written | None:
    if segment is None:
        return None
    files = {name: info for name, info in manifest.files.items() if name.startswith(f"{segment.folder}/")}
    return Written(segment=segment, files=files)


def _documents_of(rows: Rows | None) -> int:
    return len(pc.unique(rows.chunks.column("document_id"))) if rows is not None else 0


def _rows_of(rows: Rows | None) -> int:
    return len(rows.vectors) if rows is not None else 0


def _described(recipe: Recipe, dimension: int, documents: int, chunks: int) -> dict[str, Any]:
    return {
        "embedder": recipe.embedder,
        "embedder_version": recipe.embedder_version,
        "dimension": dimension,
        "documents": documents,
        "chunks": chunks,
        "chunker": recipe.chunker,
        "lexical": lexical.VERSION,
        "refusal_threshold": recipe.refusal_threshold,
        "tuning": dict(sorted(recipe.tuning.items())),
    }


def _assemble(
    index_dir: Path,
    number: int,
    described: dict[str, Any],
    base: Written | None,
    delta: Written | None,
    dead: NDArray[np.int64],
    words: Counts | None = None,
) -> Path:
    """Write manifest, tombstones and their words aside, sync them and rename them into place; the folder."""
    folder = generation_folder(index_dir, number)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.parent / f".building-{uuid.uuid4().hex}"
    aside.mkdir()
    files = {**(base.files if base else {}), **(delta.files if delta else {})}
    tombstones = their_words = None
    if len(dead):
        assert words is not None
        tombstones, their_words = (f"generations/{folder.name}/{name}" for name in (_TOMBSTONES, _DEAD_WORDS))
        write_tombstones(aside / _TOMBSTONES, dead)
        write_dead_words(aside / _DEAD_WORDS, words)
        files |= {tombstones: file_info(aside / _TOMBSTONES), their_words: file_info(aside / _DEAD_WORDS)}
    manifest = Manifest(
        number=number,
        **described,
        base=base.segment if base else None,
        delta=delta.segment if delta else None,
        dead=len(dead),
        tombstones=tombstones,
        dead_words=their_words,
        files=dict(sorted(files.items())),
    )
    (aside / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
    for path in (*aside.iterdir(), aside):
        sync(path)
    # What a killed run left under this number was never published, so nobody reads it.
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    sync(folder.parent)
    return folder
