"""The index over time: deletions, compaction, going back, housekeeping, with a real PostgreSQL and a real Spark."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from cuvee.cli import app
from cuvee.database import documents, index_generations
from cuvee.errors import IntegrityError, InvalidInputError, NotFoundError, NotReadyError
from cuvee.objects import ObjectStore
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.documents import ledger
from rag_service.index import building, publishing
from rag_service.index.generation import Generation, current
from rag_service.index.manifest import generation_folder, read_manifest
from tests.integration.rag_service.test_pipeline import drop, ready, rows, run_all

pytestmark = pytest.mark.integration
__all__ = ["ready"]


@pytest.fixture
def keeping(ready: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings by which no micro-batch makes a new base by itself, however small that is here."""
    monkeypatch.setenv("CUVEE_DEAD_SHARE", "1")
    return Settings.load()


def take_out(engine: sa.Engine, settings: Settings) -> dict[str, Any]:
    """What the DAG does when a deletion starts it; it needs no Spark."""
    batch = pipeline.prepare_chunks(settings)
    assert batch["chunks"] == 0
    return pipeline.publish_generation(pipeline.embed_chunks(batch, settings), settings)


def delete(engine: sa.Engine, uri: str) -> str:
    with engine.begin() as connection:
        wanted = sa.and_(documents.c.uri == uri, documents.c.state != "superseded")
        found = connection.execute(sa.select(documents.c.document_id).where(wanted)).scalar_one()
        assert ledger.delete(connection, found)
    return str(found)


def loaded(engine: sa.Engine, settings: Settings) -> Generation:
    folder = current(engine, settings.index_dir)
    assert folder is not None
    return Generation.load(folder)


def texts(engine: sa.Engine, settings: Settings) -> list[str]:
    generation = loaded(engine, settings)
    return sorted(generation.chunk(int(row)).text for row in generation.select(None).rows)


def waiting(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return ledger.requested(connection)[0]


def age(engine: sa.Engine, hours: int) -> None:
    """Let everything recorded have happened that much earlier."""
    with engine.begin() as connection:
        past = sa.text(f"interval '{hours} hours'")
        for table, names in ((documents, ("updated_at", "landed_at")), (index_generations, ("retired_at",))):
            connection.execute(sa.update(table).values(**{name: table.c[name] - past for name in names}))


def age_files(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (1, 1))


def test_a_deleted_document_is_gone_after_one_micro_batch_and_can_come_again(
    engine: sa.Engine, keeping: Settings
) -> None:
    drop(keeping, "a.txt", "The code of the gate is 4711.")
    drop(keeping, "b.txt", "The vat is full.")
    run_all(keeping)
    before = read_manifest(generation_folder(keeping.index_dir, 1))

    delete(engine, "a.txt")
    assert waiting(engine) == 1
    receipt = take_out(engine, keeping)

    assert receipt == {"generation": 2, "documents": 1, "chunks": 1, "published": True, "new_base": False}
    assert texts(engine, keeping) == ["The vat is full."]
    after = loaded(engine, keeping).manifest
    assert (after.base, after.dead, waiting(engine)) == (before.base, 1, 0)
    assert take_out(engine, keeping)["published"] is False

    drop(keeping, "a.txt", "The code of the gate is 4711.")
    run_all(keeping)
    assert texts(engine, keeping) == ["The code of the gate is 4711.", "The vat is full."]
    assert rows(engine)["a.txt"].state == "indexed"


def test_a_deletion_waits_neither_for_reading_nor_for_settings_that_fit(
    engine: sa.Engine, keeping: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"a.txt": "The code of the gate is 4711.", "b.txt": "The vat is full."}.items():
        drop(keeping, name, text)
    run_all(keeping)

    # Spark is down, and another document waits to be read
    drop(keeping, "c.txt", "The tank is empty.")
    pipeline.land_documents(keeping)
    delete(engine, "a.txt")
    monkeypatch.setenv("CUVEE_SPARK_URL", "sc://127.0.0.1:1")
    with pytest.raises(NotReadyError):
        pipeline.prepare_chunks(Settings.load())
    assert texts(engine, keeping) == ["The vat is full."]
    assert rows(engine)["c.txt"].state == "landed"
    assert [*keeping.batches_dir.rglob(".prepared-*")] == []

    # What is left was cut otherwise than the settings ask for now
    delete(engine, "c.txt")
    monkeypatch.setenv("CUVEE_CHUNK_TOKENS", "220")
    delete(engine, "b.txt")
    assert take_out(engine, Settings.load())["chunks"] == 0
    assert loaded(engine, keeping).manifest.chunker == read_manifest(generation_folder(keeping.index_dir, 1)).chunker


def test_a_document_that_is_deleted_before_it_was_read_never_appears(engine: sa.Engine, keeping: Settings) -> None:
    drop(keeping, "a.txt", "The code of the gate is 4711.")
    pipeline.land_documents(keeping)
    batch = pipeline.embed_chunks(pipeline.prepare_chunks(keeping), keeping)
    delete(engine, "a.txt")

    assert pipeline.publish_generation(batch, keeping)["generation"] is None
    assert waiting(engine) == 0
    with engine.begin() as connection, pytest.raises(NotFoundError):
        ledger.delete(connection, "unknown")


@pytest.mark.parametrize("gone", ["a.txt", "b.txt"])
def test_a_document_that_is_deleted_between_build_and_commit_is_not_published(
    engine: sa.Engine, keeping: Settings, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    drop(keeping, "a.txt", "The code of the gate is 4711.")
    run_all(keeping)
    drop(keeping, "b.txt", "The vat is full.")
    pipeline.land_documents(keeping)
    batch = pipeline.embed_chunks(pipeline.prepare_chunks(keeping), keeping)
    real: Callable[..., Path] = building.extend
    built: list[Path] = []

    def build_slowly(*arguments: Any) -> Path:
        folder = real(*arguments)
        if not built:
            delete(engine, gone)
        built.append(folder)
        return folder

    monkeypatch.setattr(building, "extend", build_slowly)
    receipt = pipeline.publish_generation(batch, keeping)

    assert len(built) == 2
    assert (receipt["generation"], receipt["documents"]) == (2, 1)
    assert texts(engine, keeping) == ["The vat is full." if gone == "a.txt" else "The code of the gate is 4711."]
    assert pipeline.prepare_chunks(keeping)["batch_id"] is None


def test_a_failed_document_is_tried_again_on_request(
    engine: sa.Engine, keeping: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(keeping, "a.txt", "The vat is full of wine. " * 2500)
    run_all(keeping)
    failed = rows(engine)["a.txt"].document_id
    monkeypatch.setenv("CUVEE_MAX_DOCUMENT_BYTES", "100000")
    larger = Settings.load()

    with engine.begin() as connection:
        ledger.retry(connection, failed)
    assert waiting(engine) == 1
    run_all(larger)

    assert (rows(engine)["a.txt"].state, rows(engine)["a.txt"].error, waiting(engine)) == ("indexed", None, 0)
    with engine.begin() as connection, pytest.raises(InvalidInputError, match="did not fail"):
        ledger.retry(connection, failed)


def three_generations(engine: sa.Engine, settings: Settings) -> None:
    """1: a and b. 2: a new and b. 3: a new, b and c."""
    drop(settings, "a.txt", "The code of the gate is 4711.")
    drop(settings, "b.txt", "The vat is full.")
    run_all(settings)
    drop(settings, "a.txt", "The code of the gate is 8020.")
    run_all(settings)
    drop(settings, "c.txt", "The tank is empty.")
    run_all(settings)


def test_going_back_serves_what_is_alive_of_the_older_generation_and_the_rest_comes_again(
    engine: sa.Engine, keeping: Settings
) -> None:
    three_generations(engine, keeping)
    delete(engine, "b.txt")

    receipt = pipeline.go_back(keeping)

    # The deleted document does not come back, and neither does what was superseded.
    counts = {"documents": 1, "chunks": 1}
    done = {"published": True, "new_base": False, "made_from": 2, "waiting": 1}
    assert receipt == {"generation": 4, **counts, **done}
    assert texts(engine, keeping) == ["The code of the gate is 8020."]
    assert rows(engine)["c.txt"].state == "landed"

    again = pipeline.go_back(keeping)
    assert (again["made_from"], again["documents"], again["waiting"]) == (1, 0, 1)
    with pytest.raises(NotFoundError, match="no generation before 1"):
        pipeline.go_back(keeping)

    forward = pipeline.serve_again(3, keeping)
    assert (forward["made_from"], forward["documents"], forward["waiting"]) == (3, 2, 0)
    assert texts(engine, keeping) == ["The code of the gate is 8020.", "The tank is empty."]
    assert {row.state for row in rows(engine).values()} == {"indexed", "deleted"}

    pipeline.go_back(keeping)
    run_all(keeping)
    assert texts(engine, keeping) == ["The code of the gate is 8020.", "The tank is empty."]


def test_a_generation_that_does_not_hold_or_is_gone_is_not_gone_back_to(
    engine: sa.Engine, keeping: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_generations(engine, keeping)
    (delta,) = (s for s in read_manifest(generation_folder(keeping.index_dir, 2)).segments if s.rows == 1)
    path = keeping.index_dir / delta.folder / "vectors.faiss"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(IntegrityError, match=r"vectors\.faiss"):
        pipeline.serve_again(2, keeping)
    with pytest.raises(InvalidInputError, match="is what is published"):
        pipeline.serve_again(3, keeping)
    with pytest.raises(NotFoundError, match="no generation 9"):
        pipeline.serve_again(9, keeping)
    assert loaded(engine, keeping).manifest.number == 3

    listed = CliRunner().invoke(app, ["index", "list"], env={"COLUMNS": "80"})
    *shown, embedder = listed.output.splitlines()
    assert embedder == f"Embedder {loaded(engine, keeping).manifest.embedder_version}"
    assert [line.split()[:4] for line in shown[1:]] == [
        ["3", "published", "3", "3"],
        ["2", "retired", "2", "2"],
        ["1", "retired", "2", "2"],
    ]
    failed = CliRunner().invoke(app, ["index", "publish", "2"])
    assert (failed.exit_code, "integrity_error" in failed.output) == (1, True)
    done = CliRunner().invoke(app, ["index", "publish", "1"])
    assert (done.exit_code, "what is alive of generation 1" in done.output) == (0, True)


def test_compaction_folds_delta_and_tombstones_and_changes_nothing_that_is_served(
    engine: sa.Engine, keeping: Settings
) -> None:
    three_generations(engine, keeping)
    before = texts(engine, keeping)

    receipt = pipeline.compact_index(keeping)

    made = loaded(engine, keeping).manifest
    assert (receipt["generation"], receipt["new_base"], texts(engine, keeping)) == (4, True, before)
    assert (made.delta, made.dead, made.base.rows if made.base else 0) == (None, 0, 3)
    assert publishing.records(engine)[0].origin == "compaction"
    assert pipeline.compact_index(keeping)["published"] is False


def test_housekeeping_removes_generations_objects_and_batches_after_the_soak_and_nothing_before(
    engine: sa.Engine, keeping: Settings
) -> None:
    drop(keeping, "a.txt", "The code of the gate is 4711.")
    drop(keeping, "same.txt", "The vat is full.")
    drop(keeping, "same-too.txt", "The vat is full.")
    run_all(keeping)
    drop(keeping, "a.txt", "The code of the gate is 8020.")
    run_all(keeping)
    delete(engine, "same.txt")
    gone = delete(engine, "a.txt")
    take_out(engine, keeping)
    store = ObjectStore(keeping.resolved_objects_url)
    with engine.connect() as connection:
        kept = {row.uri: row for row in connection.execute(sa.select(documents))}
    age_files(keeping.data_dir / "objects")

    def keep_house() -> list[dict[str, Any]]:
        done = (pipeline.forget_deleted, pipeline.reclaim_index, pipeline.reclaim_objects)
        return [task(keeping) for task in done]

    assert keep_house()[2] == {"objects": 0, "documents": 0, "questions": 0}
    age(engine, 100)
    first, second, third = keep_house()

    # Folded first, so that no file of the published generation holds what was deleted.
    assert (first["published"], first["new_base"], second["generations"]) == (True, True, [2, 1])
    assert third == {"objects": 2, "documents": 3, "questions": 0}
    assert texts(engine, keeping) == ["The vat is full."]
    assert store.read(kept["same-too.txt"].sha256) == b"The vat is full."
    with pytest.raises(NotFoundError):
        store.read(kept["a.txt"].sha256)
    needles = (b"4711", b"8020")
    age(engine, 100)
    age_files(keeping.batches_dir)
    keep_house()
    assert keep_house() == [
        {"generation": 4, "published": False, "new_base": False},
        {"generations": [], "batches": 0},
        {"objects": 0, "documents": 0, "questions": 0},
    ]
    left = [path for path in keeping.data_dir.rglob("*") if path.is_file() and "postgres" not in path.parts]
    assert not [path for path in left if any(needle in path.read_bytes() for needle in needles)]
    assert len(list((keeping.index_dir / "segments").iterdir())) == 1

    drop(keeping, "a.txt", "The code of the gate is 8020.")
    run_all(keeping)
    again = rows(engine)["a.txt"]
    assert (again.document_id, again.state) == (gone, "indexed")
    assert store.read(again.text_sha256) == b"The code of the gate is 8020."


KILLED = """
import collections, os, pathlib, signal, sys
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.documents import membership
from rag_service.index import generation, reclaiming

wanted, at = sys.argv[1], int(sys.argv[2])
ticks = collections.Counter()

def tick(name):
    ticks[name] += 1
    if (name, ticks[name]) == (wanted, at):
        os.kill(os.getpid(), signal.SIGKILL)

def dies(owner, name):
    real = getattr(owner, name)
    def wrapped(*args, **kwargs):
        tick(name)
        result = real(*args, **kwargs)
        tick(name)
        return result
    setattr(owner, name, wrapped)

dies(pathlib.Path, "rename")
dies(generation, "publish")
dies(membership, "mark_left")
dies(reclaiming, "_segments")
settings = Settings.load().model_copy(update={"generations_kept": 2})
for step in (pipeline.compact_index, pipeline.go_back, pipeline.reclaim_index, pipeline.reclaim_objects):
    step(settings)
"""


def test_upkeep_killed_anywhere_and_run_again_leaves_the_living_served(engine: sa.Engine, keeping: Settings) -> None:
    three_generations(engine, keeping)
    delete(engine, "b.txt")
    take_out(engine, keeping)
    # The new segment not in place yet, the generation built, and uncommitted; then the one that goes back built, and
    # uncommitted; old generations removed but not their segments.
    moments = (("rename", 13), ("publish", 1), ("mark_left", 2), ("publish", 3), ("mark_left", 2), ("_segments", 1))
    for name, at in moments:
        command = [sys.executable, "-c", KILLED, name, str(at)]
        killed = subprocess.run(command, env={**os.environ}, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, (name, at, killed.stderr.decode())
        assert set(texts(engine, keeping)) <= {"The code of the gate is 8020.", "The tank is empty."}

    run_all(keeping)
    pipeline.reclaim_index(keeping)

    assert texts(engine, keeping) == ["The code of the gate is 8020.", "The tank is empty."]
    named = {s.id for f in (keeping.index_dir / "generations").iterdir() for s in read_manifest(f).segments}
    assert {folder.name for folder in (keeping.index_dir / "segments").iterdir()} == named


def test_going_back_after_housekeeping_does_not_keep_a_deleted_text_for_ever(
    engine: sa.Engine, keeping: Settings
) -> None:
    drop(keeping, "a.txt", "The code of the gate is 4711.")
    drop(keeping, "b.txt", "The vat is full.")
    run_all(keeping)
    delete(engine, "a.txt")
    take_out(engine, keeping)

    def holding() -> list[str]:
        files = loaded(engine, keeping).manifest.files
        return [name for name in files if b"4711" in (keeping.index_dir / name).read_bytes()]

    def keep_house() -> None:
        for task in (pipeline.forget_deleted, pipeline.reclaim_index, pipeline.reclaim_objects):
            task(keeping)

    with engine.begin() as connection:
        connection.execute(
            sa.update(documents).values(updated_at=documents.c.updated_at - sa.text("interval '99 hours'"))
        )
    keep_house()
    assert holding() == []

    pipeline.serve_again(1, keeping)
    assert holding() != []
    assert texts(engine, keeping) == ["The vat is full."]
    keep_house()
    assert holding() == []
