"""The Parquet files of one micro-batch, between the steps of the pipeline: `documents/<batch id>/{prepared,embedded}`.

A part is written aside and renamed, so it is either whole or not there.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from cuvee.errors import IntegrityError, NotFoundError
from rag_service.documents.ledger import Outcome

NOTHING_NEW = "nothing-new"
"""Name of the batch that has no documents: the next generation only leaves some out."""
_FORM = "batch-2"
"""Of the files: those of another form, which an older version left, are not taken up."""
_OUTCOME = list(Outcome.__dataclass_fields__)
_EMBEDDED = ("embedding", "statements", "statement_embeddings")


def batch_id(landings: Iterable[tuple[str, str]], versions: Iterable[str]) -> str:
    """Name of the batch of these landings with these versions of chunker and embedder.

    The time of landing takes part, so that a document that failed and comes again is read again.
    """
    parts = [f"{document_id} {landed_at}" for document_id, landed_at in landings]
    return hashlib.sha256("\0".join([*sorted(parts), *versions, _FORM]).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Batch:
    """Where one micro-batch's files are, and what is in them."""

    id: str
    folder: Path

    @classmethod
    def in_folder(cls, batches_dir: Path, batch: str) -> "Batch":
        return cls(batch, batches_dir / "documents" / batch)

    @property
    def prepared(self) -> Path:
        return self.folder / "prepared"

    @property
    def embedded(self) -> Path:
        return self.folder / "embedded"

    def write(self, part: Path, write_to: Callable[[str], None]) -> None:
        """Let `write_to(folder)` write a part aside, unless it is already there; then put it in its place, synced."""
        if part.is_dir():
            return
        aside = part.with_name(f".{part.name}-{uuid.uuid4().hex}")
        try:
            write_to(str(aside))
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        for path in (*aside.rglob("*"), aside):
            _sync(path)
        try:
            aside.rename(part)
        except OSError:
            if not part.is_dir():
                raise
            shutil.rmtree(aside)  # another run of the same step was faster
        _sync(self.folder)

    def is_of(self, outcomes: Iterable[Outcome], versions: Iterable[str]) -> bool:
        """Whether this is the batch of what gave these outcomes, made with these versions."""
        return self.id == batch_id((outcome.landing for outcome in outcomes), versions)

    def outcomes(self) -> list[Outcome]:
        """One per document of the batch, by document id."""
        table = self._read(self.prepared, _OUTCOME, pc.field("ordinal").is_null())
        rows = table.sort_by("document_id").to_pylist()
        return [Outcome(**{**row, "metadata": dict(row["metadata"] or ())}) for row in rows]

    def chunks(self, documents: Collection[str]) -> pa.Table:
        """Chunk rows of these documents, by chunk id.

        With `statements`, `embedding` (fp32 bytes) and `statement_embeddings` (fp16 bytes).

        Raises:
            NotFoundError: the batch was removed.
            IntegrityError: there is not one vector for each chunk.
        """
        chosen = pc.field("document_id").isin(sorted(documents))
        chunks = self._read(self.prepared, None, pc.field("ordinal").is_valid() & chosen).sort_by("chunk_id")
        of_chunks = pc.field("chunk_id").isin(chunks.column("chunk_id").combine_chunks())
        vectors = self._read(self.embedded, ["chunk_id", *_EMBEDDED], of_chunks).sort_by("chunk_id")
        if chunks.column("chunk_id").to_pylist() != vectors.column("chunk_id").to_pylist():
            raise IntegrityError(f"The vectors in {self.embedded} are not those of the chunks in {self.prepared}.")
        for name in _EMBEDDED:
            chunks = chunks.append_column(name, vectors.column(name))
        return chunks

    def _read(self, part: Path, columns: list[str] | None, only: Any) -> pa.Table:
        if not part.is_dir():
            raise NotFoundError(f"{part} is not there (any more); run index_documents from its first task again.")
        return ds.dataset(part, format="parquet").to_table(columns=columns, filter=only)


def remove_older(batches_dir: Path, than: Batch) -> None:
    """Remove the batches that were last written to before this one."""
    written = than.folder.stat().st_mtime_ns
    for folder in (batches_dir / "documents").iterdir():
        if folder.stat().st_mtime_ns < written:
            shutil.rmtree(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
