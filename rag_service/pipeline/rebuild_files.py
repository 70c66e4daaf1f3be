"""A rebuild's files: the documents that were read anew, in parts, and the candidate that was built of them."""

import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from rag_service.documents import ledger
from rag_service.documents.batches import Batch, batch_id
from rag_service.documents.ledger import Landed, Outcome
from rag_service.index.building import Recipe
from rag_service.index.making import Making
from rag_service.index.manifest import Manifest
from rag_service.index.rows import Rows
from rag_service.pipeline import reading
from rag_service.pipeline.index import in_shares
from rag_service.pipeline.run import Run, Tell

log = logging.getLogger(__name__)

_CANDIDATE = "candidate.json"
_LIBRARIES = ("PyPDF2", "python-docx", "beautifulsoup4", "lxml")

Landing = tuple[str, str]


def reading_digest() -> str:
    """Another one after a change of the code that reads and cuts documents, or of a library that it reads them with:
    what an interrupted rebuild has read before it is read again."""
    digest = hashlib.sha256()
    for file in sorted(resources.files("rag_service.documents").iterdir(), key=lambda one: one.name):
        if file.name.endswith(".py"):
            digest.update(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    for library in _LIBRARIES:
        digest.update(f"{library} {metadata.version(library)}\n".encode())
    return digest.hexdigest()


class Profile(BaseModel, frozen=True):
    """How a generation is made and searched."""

    embedder_version: str
    chunker: str
    refusal_threshold: float
    tuning: dict[str, float]

    @classmethod
    def of(cls, made: Manifest | Recipe) -> "Profile":
        return cls(
            embedder_version=made.embedder_version,
            chunker=made.chunker,
            refusal_threshold=made.refusal_threshold,
            tuning=dict(made.tuning),
        )


class Candidate(BaseModel, frozen=True):
    """A generation that was built aside, and what became of it."""

    folder: str
    held: dict[str, str]
    """When each of its documents landed."""
    lost: dict[str, str]
    """The same of those that cannot be read anew."""
    profile: Profile
    beside: Profile
    """Of the generation that it was measured beside."""
    champion: int
    """Number of that generation."""
    promoted: bool


@dataclass(frozen=True)
class Reread:
    """What reading a document anew gave, and the files that it is in."""

    outcome: Outcome
    part: Batch


@dataclass(frozen=True)
class Rebuild:
    """One rebuild's files: what was read in `batches/rebuild/<id>`, the candidate in `index/rebuild/<id>`."""

    run: Run
    making: Making
    id: str

    @classmethod
    def of(cls, run: Run) -> "Rebuild":
        making = run.wanted
        made_with = "\0".join([*making.versions, reading_digest()])
        return cls(run, making, hashlib.sha256(made_with.encode()).hexdigest()[:32])

    @property
    def read_dir(self) -> Path:
        return self.run.settings.batches_dir / "rebuild" / self.id

    @property
    def index_dir(self) -> Path:
        return self.run.index_dir / "rebuild" / self.id

    def begin(self) -> None:
        """Say that it is worked at: housekeeping removes what nobody has touched for a soak."""
        for folder in (self.read_dir, self.index_dir):
            folder.mkdir(parents=True, exist_ok=True)
            os.utime(folder)

    def end(self) -> None:
        for folder in (self.index_dir, self.read_dir):
            shutil.rmtree(folder, ignore_errors=True)

    def indexed(self) -> list[Landed]:
        """What answers are given from now."""
        with self.run.engine.connect() as connection:
            return ledger.indexed(connection)

    def read(self) -> dict[Landing, Reread]:
        """What was read anew so far; of what was read again, the last."""
        parts = [Batch(folder.name, folder) for folder in self.read_dir.iterdir()]
        whole = sorted((p for p in parts if p.embedded.is_dir()), key=lambda p: p.folder.stat().st_mtime_ns)
        return {outcome.landing: Reread(outcome, part) for part in whole for outcome in part.outcomes()}

    def read_sound(self) -> dict[Landing, Reread]:
        """The same without what could not be read, so that it is tried again."""
        known = self.read()
        sound = {landing: one for landing, one in known.items() if one.outcome.error is None}
        # A part of nothing else would be found and taken for done.
        for part in {one.part for one in known.values()} - {one.part for one in sound.values()}:
            shutil.rmtree(part.folder)
        return sound

    def read_rest(self, known: dict[Landing, Reread], tell: Tell | None = None) -> dict[Landing, Reread]:
        """Read and embed what is not `known`, also what is indexed meanwhile; both."""
        while True:
            indexed = self.indexed()
            rest = [document for document in indexed if document.landing not in known]
            if tell:
                tell(len(indexed) - len(rest), len(indexed))
            if not rest:
                return known
            log.info("read anew: %d of %d documents", len(indexed) - len(rest), len(indexed))
            part = self._read_part(rest[: self.run.settings.batch_documents])
            known = known | {outcome.landing: Reread(outcome, part) for outcome in part.outcomes()}

    def _read_part(self, documents: Sequence[Landed]) -> Batch:
        name = batch_id([document.landing for document in documents], self.making.versions)
        part = Batch(name, self.read_dir / name)
        part.write(part.prepared, lambda folder: reading.prepare(self.run, self.making, documents, folder))
        chunks = sum(outcome.chunks or 0 for outcome in part.outcomes())
        part.write(part.embedded, lambda folder: reading.embed(self.run, self.making, part.prepared, chunks, folder))
        return part

    def rows(self, read: Sequence[Reread]) -> Iterator[Rows]:
        """The rows of these documents, by document id, of few documents at a time."""
        parts = {one.outcome.landing: one.part for one in read}
        for share in in_shares(sorted((one.outcome for one in read), key=lambda outcome: outcome.document_id)):
            ids: dict[Batch, set[str]] = {}
            for outcome in share:
                ids.setdefault(parts[outcome.landing], set()).add(outcome.document_id)
            tables: list[pa.Table] = [part.chunks(documents) for part, documents in ids.items()]
            if any(table.num_rows for table in tables):
                yield Rows.together([Rows.of_batch(table) for table in tables if table.num_rows])

    def candidate(self) -> Candidate | None:
        try:
            return Candidate.model_validate_json((self.index_dir / _CANDIDATE).read_bytes())
        except (OSError, ValidationError):
            return None

    def remember(self, candidate: Candidate) -> None:
        aside = self.index_dir / f".{_CANDIDATE}-{uuid.uuid4().hex}"
        aside.write_text(candidate.model_dump_json() + "\n")
        aside.rename(self.index_dir / _CANDIDATE)
