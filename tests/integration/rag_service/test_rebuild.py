"""Everything indexed anew, with a real PostgreSQL and a real Spark, while documents come and go."""

import json
import os
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cuvee.database import documents
from cuvee.errors import NotReadyError
from cuvee.objects import ObjectStore
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.documents.batches import NOTHING_NEW
from rag_service.index.manifest import Manifest
from rag_service.pipeline import rebuild
from tests.integration.rag_service.test_pipeline import drop, found, published, ready, rows, run_all
from tests.integration.rag_service.test_pipeline_index import age_files, delete

pytestmark = pytest.mark.integration
__all__ = ["ready"]

PLACES = ["Ahr", "Nahe", "Mosel", "Saale", "Douro"]
FILLING = "It is rinsed with hot water, drained, and looked into with a lamp before it is filled again. "
WIDER = "sentences-1/300/40/statements-1"


def text(place: str) -> str:
    """About 260 tokens: two chunks of 240, one of 300."""
    return f"The press of {place} was built of oak by Ada {place}. " + FILLING * 11


@pytest.fixture
def golden(ready: Settings) -> Path:
    """Six questions about each place, two of them without an answer."""
    asked = []
    for place in PLACES:
        document = f"cellar/safety/{place}.txt"
        for verb in ("built", "made", "constructed", "put together"):
            question, answers = f"Who {verb} the press of {place}?", [f"Ada {place}"]
            asked.append({"question": question, "answerable": True, "document": document, "answers": answers})
        asked += [{"question": f"Who {verb} the roof of {place}?", "answerable": False} for verb in ("tarred", "sold")]
    path = ready.data_dir / "golden" / "sample.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(asked))
    return path


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What would be logged to MLflow, which other tests do for real."""
    seen: list[dict[str, str]] = []

    def log(_run: Any, _chosen: Any, _measured: Any, about: dict[str, str], *_: Any) -> None:
        seen.append(about)

    monkeypatch.setattr(rebuild.evaluation, "logged", log)
    return seen


@pytest.fixture
def indexed(ready: Settings, golden: Path, logged: list[dict[str, str]]) -> Settings:
    """A document for each place, in chunks of 240 tokens."""
    for place in PLACES:
        drop(ready, f"{place}.txt", text(place))
    run_all(ready)
    return ready


@pytest.fixture
def wider(indexed: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings ask for chunks of 300 tokens now."""
    monkeypatch.setenv("CUVEE_CHUNK_TOKENS", "300")
    return Settings.load()


def manifest(engine: sa.Engine, settings: Settings) -> Manifest:
    return published(engine, settings).manifest


def dies(_: object) -> None:
    raise OSError("the power fails")


def uris(engine: sa.Engine, settings: Settings) -> set[str]:
    generation = published(engine, settings)
    return {generation.chunk(int(row)).uri for row in generation.select(None).rows}


CHILD = """
import os, signal
from rag_service.documents import ledger
from rag_service.pipeline import rebuild

real = ledger.mark_reread
ledger.mark_reread = lambda *given: (real(*given), os.kill(os.getpid(), signal.SIGKILL))
rebuild.publish_anew()
"""


def test_everything_is_indexed_anew_beside_what_is_served_and_kept_up(
    engine: sa.Engine, wider: Settings, logged: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = manifest(engine, wider)
    assert (before.documents, before.chunks) == (5, 10)

    read = rebuild.read_anew(settings=wider)
    drop(wider, "late.txt", "The late vat is called Hortense.")
    run_all(wider)
    judged = rebuild.judge(settings=wider)
    pipeline.reclaim_index(wider)
    pipeline.reclaim_objects(wider)
    delete(engine, "Ahr.txt")
    drop(wider, "Nahe.txt", "The press of Nahe is gone.")
    meanwhile = run_all(wider)
    drop(wider, "later.txt", "The later vat is called Berta.")
    pipeline.land_documents(wider)
    prepared = pipeline.prepare_chunks(wider)
    embedded = pipeline.embed_chunks(prepared, wider)

    assert (read["documents"], read["failed"]) == (5, 0)
    assert judged["promoted"], judged["reason"]
    assert logged[0]["trial"] == "rebuilt"
    assert (meanwhile["documents"], manifest(engine, wider).chunker) == (5, before.chunker)

    killed = subprocess.run([sys.executable, "-c", CHILD], env={**os.environ}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert manifest(engine, wider).number == meanwhile["generation"]
    with monkeypatch.context() as dying, pytest.raises(OSError, match="power"):
        dying.setattr(rebuild.Rebuild, "end", dies)
        rebuild.publish_anew(wider)
    first = manifest(engine, wider).number
    receipt = rebuild.publish_anew(wider)

    assert receipt["generation"] == first
    now = manifest(engine, wider)
    assert (now.chunker, now.documents, now.chunks) == (WIDER, 5, 5)
    assert now.base != before.base
    assert uris(engine, wider) == {"Nahe.txt", "Mosel.txt", "Saale.txt", "Douro.txt", "late.txt"}
    assert "The press of Nahe is gone." in found(engine, wider, "What of the press of Nahe?")[0]
    live = rows(engine)
    assert {row.chunks for row in live.values() if row.state == "indexed"} == {1}
    store = ObjectStore(wider.resolved_objects_url)
    assert all(store.read(row.text_sha256) for row in live.values() if row.state == "indexed")
    assert not [*wider.batches_dir.glob("rebuild/*"), *wider.index_dir.glob("rebuild/*")]

    # A batch that was on its way was made for what is not served any more; it is read again.
    assert pipeline.publish_generation(embedded, wider)["published"] is False
    assert pipeline.embed_chunks(prepared, wider)["batch_id"] == NOTHING_NEW
    assert rows(engine)["later.txt"].state == "landed"
    assert run_all(wider)["documents"] == 6
    assert (manifest(engine, wider).chunker, rows(engine)["later.txt"].state) == (WIDER, "indexed")

    # Going back leaves out what was cut from another text: its places would be those of other words.
    with engine.begin() as connection:
        read_otherwise = documents.c.uri == "Mosel.txt"
        text_now = store.read(connection.execute(sa.select(documents.c.text_sha256).where(read_otherwise)).scalar_one())
        other = store.put(BytesIO(b"Mosel\n\n" + text_now)).sha256
        connection.execute(sa.update(documents).where(documents.c.uri == "Saale.txt").values(text_sha256="0" * 64))
        connection.execute(sa.update(documents).where(read_otherwise).values(text_sha256=other))
    back = pipeline.serve_again(meanwhile["generation"], wider)
    assert (back["documents"], back["waiting"]) == (3, 3)
    assert manifest(engine, wider).chunker == before.chunker
    assert {uri for uri, row in rows(engine).items() if row.state == "landed"} == {
        "Mosel.txt",
        "Saale.txt",
        "later.txt",
    }
    again = pipeline.serve_again(before.number, wider)
    assert rows(engine)["Mosel.txt"].state == "landed"
    assert again["documents"] == 1


def test_where_nothing_is_indexed_there_is_nothing_to_index_anew(engine: sa.Engine, ready: Settings) -> None:
    with pytest.raises(NotReadyError, match="Nothing is indexed"):
        rebuild.read_anew(settings=ready)


def test_housekeeping_takes_away_what_nobody_goes_on_with(engine: sa.Engine, ready: Settings) -> None:
    left = [ready.batches_dir / "rebuild" / "abandoned", ready.index_dir / "rebuild" / "abandoned"]
    at_work = [ready.batches_dir / "rebuild" / "at-work", ready.index_dir / "rebuild" / "at-work"]
    for folder in (*left, *at_work):
        folder.mkdir(parents=True)
    for folder in left:
        age_files(folder)

    assert pipeline.reclaim_index(ready)["batches"] == 2
    assert [folder.exists() for folder in (*left, *at_work)] == [False, False, True, True]
