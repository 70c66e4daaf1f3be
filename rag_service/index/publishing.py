"""The table `index_generations`: which generation is published, which were, and which are gone."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from cuvee.database import INDEX_CHANNEL, index_generations, notify
from cuvee.errors import IntegrityError, NotFoundError
from rag_service.index.manifest import MANIFEST, Manifest, generation_folder, read_manifest, sha256


@dataclass(frozen=True)
class GenerationRecord:
    """One generation as it stands."""

    number: int
    state: str
    """`published`, `retired`, or `reclaimed`: its files are gone."""
    origin: str
    """What made it: `batch`, `compaction`, `publish`."""
    made_from: int | None
    """The older generation that it serves again."""
    manifest_sha256: str
    embedder: str
    documents: int
    chunks: int
    published_at: datetime
    retired_at: datetime | None


def publish(connection: sa.Connection, folder: Path, origin: str = "batch", made_from: int | None = None) -> Manifest:
    """Make the built generation the published one, and tell the listeners, when this transaction commits."""
    manifest = read_manifest(folder)
    table = index_generations
    retired = {"state": "retired", "retired_at": sa.func.now()}
    connection.execute(sa.update(table).where(table.c.state == "published").values(**retired))
    row = {
        "number": manifest.number,
        "state": "published",
        "origin": origin,
        "made_from": made_from,
        "manifest_sha256": sha256(folder / MANIFEST),
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


def records(engine: sa.Engine) -> list[GenerationRecord]:
    """All generations, latest first."""
    columns = [index_generations.c[name] for name in GenerationRecord.__dataclass_fields__]
    with engine.connect() as connection:
        rows = connection.execute(sa.select(*columns).order_by(index_generations.c.number.desc())).mappings()
        return [GenerationRecord(**row) for row in rows]


def current(engine: sa.Engine, index_dir: Path) -> Path | None:
    """Folder of the published generation; None before the first one.

    Raises:
        IntegrityError: its manifest is missing or is not the one that was published.
    """
    published = [record for record in records(engine) if record.state == "published"]
    return sound_folder(published[0], index_dir) if published else None


def find(engine: sa.Engine, number: int, index_dir: Path) -> Path:
    """Folder of a generation that was published once.

    Raises:
        NotFoundError: there was none with this number, or its files were reclaimed.
        IntegrityError: its manifest is not the one that was published.
    """
    record = next((record for record in records(engine) if record.number == number), None)
    if record is None:
        raise NotFoundError(f"There is no generation {number}; `cuvee index list` shows what there is.")
    if record.state == "reclaimed":
        raise NotFoundError(f"The files of generation {number} were reclaimed; `cuvee index list` shows what there is.")
    return sound_folder(record, index_dir)


def sound_folder(record: GenerationRecord, index_dir: Path) -> Path:
    """Raises IntegrityError when the manifest is missing or is not the one that was published."""
    folder = generation_folder(index_dir, record.number)
    manifest = folder / MANIFEST
    if not manifest.is_file() or sha256(manifest) != record.manifest_sha256:
        raise IntegrityError(f"{manifest} is missing or is not what was published; restore {index_dir} from a backup.")
    return folder


def before(engine: sa.Engine) -> int:
    """Number of the generation that was served before the published one; going back again goes further back.

    Raises:
        NotFoundError: there is none whose files are still there.
    """
    listed = records(engine)
    published = next((record for record in listed if record.state == "published"), None)
    if published is None:
        raise NotFoundError("Nothing was published yet.")
    origins = {record.number: record.made_from for record in listed}
    stands_for = published.number
    while (older := origins.get(stands_for)) is not None:
        stands_for = older
    candidates = [r.number for r in listed if r.number < stands_for and r.state == "retired" and r.made_from is None]
    if not candidates:
        raise NotFoundError(f"There is no generation before {stands_for} whose files are still there.")
    return max(candidates)
