"""The whole pipeline with a real PostgreSQL and a real Spark: from the inbox to a generation that can be searched."""

import datetime
import hashlib
import io
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
import sqlalchemy as sa
from PyPDF2 import PdfReader, PdfWriter
from reportlab.pdfgen import canvas

from cuvee.database import documents, index_generations
from cuvee.errors import ConfigurationError, NotFoundError
from cuvee.objects import ObjectStore
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.documents import ledger, uploads
from rag_service.documents.details import Details
from rag_service.documents.readers import ReadLimits
from rag_service.documents.uploads import Upload
from rag_service.index import filters, model_files
from rag_service.index.embedder import shared
from rag_service.index.filters import place
from rag_service.index.generation import Generation, current
from rag_service.index.manifest import MANIFEST, generation_folder, read_manifest
from rag_service.index.search import Retriever
from rag_service.pipeline import index

pytestmark = pytest.mark.integration

ODD_NAME = b'odd "name"\n\xff.txt'
ODD_URI = 'odd "name"%0A%FF.txt'


@pytest.fixture
def ready(engine: sa.Engine, settings: Settings, spark_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CUVEE_SPARK_URL", spark_url)
    monkeypatch.setenv("CUVEE_SETTLE_SECONDS", "0")
    monkeypatch.setenv("CUVEE_MAX_DOCUMENT_BYTES", "50000")
    return Settings.load()


def drop(settings: Settings, name: str | bytes, content: str | bytes, folder: str = "cellar/safety") -> None:
    path = os.path.join(os.fsencode(settings.inbox_dir / folder), os.fsencode(name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def pdf(*pages: str) -> bytes:
    out = io.BytesIO()
    drawing = canvas.Canvas(out)
    for page in pages:
        drawing.drawString(72, 720, page)
        drawing.showPage()
    drawing.save()
    return out.getvalue()


def locked(content: bytes) -> bytes:
    writer, out = PdfWriter(), io.BytesIO()
    writer.append_pages_from_reader(PdfReader(io.BytesIO(content)))
    writer.encrypt("key")
    writer.write(out)
    return out.getvalue()


def run_all(settings: Settings) -> dict[str, Any]:
    """Every task in the order of the DAG; what the last one returned."""
    pipeline.land_documents(settings)
    batch = pipeline.prepare_chunks(settings)
    return pipeline.publish_generation(pipeline.embed_chunks(batch, settings), settings)


def published(engine: sa.Engine, settings: Settings) -> Generation:
    folder = current(engine, settings.index_dir)
    assert folder is not None
    return Generation.load(folder)


def files_of(settings: Settings, number: int) -> dict[str, str]:
    """SHA-256 of the manifest and of everything that it names, by path."""
    folder = generation_folder(settings.index_dir, number)
    named = [settings.index_dir / name for name in read_manifest(folder).files]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / MANIFEST, *named)}


def found(engine: sa.Engine, settings: Settings, question: str, **filters: str) -> list[str]:
    retriever = Retriever(published(engine, settings), shared(settings.embedder, settings.chunk_tokens))
    where = place(filters.get("topic"), filters.get("segment"))
    return [hit.chunk.text for hit in retriever.search(question, 3, where).hits]


def rows(engine: sa.Engine) -> dict[str, Any]:
    """Live documents by uri; fails when a place has two."""
    alive: dict[str, Any] = {}
    with engine.connect() as connection:
        for row in connection.execute(sa.select(documents).where(documents.c.state != "superseded")):
            assert row.uri not in alive
            alive[row.uri] = row
    return alive


def test_good_documents_become_searchable_and_bad_ones_fail_with_their_reasons(
    engine: sa.Engine, ready: Settings
) -> None:
    drop(ready, "museum.txt", "The museum keeps an iron press. It opens on the first Sunday of March.")
    drop(ready, "pump.pdf", pdf("The pump is called Hortense.", "She was built in 1964."), "cellar/tools")
    drop(ready, ODD_NAME, "The cellar cat sleeps on barrel seven.")
    drop(ready, "broken.pdf", pdf("text")[:500])
    drop(ready, "locked.pdf", locked(pdf("secret")))
    drop(ready, "empty.txt", "")
    drop(ready, "huge.txt", "wine " * 20_000)
    drop(ready, "not-one.docx", "no zip")

    assert pipeline.land_documents(ready)["landed"] == 8
    batch = pipeline.prepare_chunks(ready)
    assert {**batch, "batch_id": None} == {"batch_id": None, "documents": 8, "failed": 5, "chunks": 3}
    embedded = pipeline.embed_chunks(batch, ready)
    receipt = pipeline.publish_generation(embedded, ready)

    assert receipt == {"generation": 1, "documents": 3, "chunks": 3, "published": True, "new_base": True}
    alive = rows(engine)
    assert {uri: row.error for uri, row in alive.items() if row.state == "failed"} == {
        "broken.pdf": "The PDF is broken and cannot be read; try to open it and save it anew.",
        "locked.pdf": "The PDF is protected by a password; save it without one.",
        "empty.txt": "The file is empty.",
        "huge.txt": "The file has 100,000 bytes; at most 50,000 are taken (CUVEE_MAX_DOCUMENT_BYTES). "
        "Split it, or raise the limit.",
        "not-one.docx": "The name ends in .docx, but this is not a Word document.",
    }
    pump = alive["pump.pdf"]
    assert (pump.state, pump.pages, pump.chunks, pump.media_type) == ("indexed", 2, 1, "application/pdf")
    text = ObjectStore(ready.resolved_objects_url).read(pump.text_sha256).decode()
    assert (text, pump.chars) == ("The pump is called Hortense.\n\nShe was built in 1964.", len(text))
    assert found(engine, ready, "When does the museum open?")[0].endswith("first Sunday of March.")
    assert found(engine, ready, "Where does the cat sleep?")[0] == "The cellar cat sleeps on barrel seven."
    assert found(engine, ready, "Where does the cat sleep?", segment="tools") == [text]
    served = published(engine, ready)
    (two_pages,) = (c for c in map(served.chunk, served.select(None).rows.tolist()) if c.page == 1)
    assert (two_pages.text, two_pages.page_breaks) == (text, (text.index("She"),))
    assert alive[ODD_URI].state == "indexed"


def test_the_same_files_again_publish_nothing_new(engine: sa.Engine, ready: Settings) -> None:
    drop(ready, "a.txt", "The vat is full.")
    first = run_all(ready)
    before = files_of(ready, 1)

    drop(ready, "a.txt", "The vat is full.")
    second = run_all(ready)

    assert (first["published"], second) == (True, {**first, "published": False, "new_base": False})
    assert files_of(ready, 1) == before
    assert len(rows(engine)) == 1


def test_what_is_said_of_an_upload_can_be_filtered_by(engine: sa.Engine, ready: Settings) -> None:
    store, limits = ObjectStore(ready.resolved_objects_url), ReadLimits(10**6, 10**6)
    for name, vintage in (("a.txt", "2020"), ("b.txt", "2021")):
        content = f"The notes of {name}.".encode()
        given = Details("Grace", datetime.date(2024, 5, 6), {"vintage": vintage})
        uploads.take([Upload(name, io.BytesIO(content), len(content))], "t", "s", given, engine, store, limits)
    run_all(ready)

    retriever = Retriever(published(engine, ready), shared(ready.embedder, ready.chunk_tokens))
    wanted = filters.parse({"metadata.vintage": "2021", "author": "Grace", "date": {"from": "2024-05-06"}})

    assert [hit.chunk.text for hit in retriever.search("notes", 3, wanted).hits] == ["The notes of b.txt."]
    row = rows(engine)["b.txt"]
    assert (row.state, row.author, row.metadata) == ("indexed", "Grace", {"vintage": "2021"})


def upload(engine: sa.Engine, settings: Settings, name: str, author: str) -> None:
    content = f"The notes of {name}.".encode()
    store, limits = ObjectStore(settings.resolved_objects_url), ReadLimits(10**6, 10**6)
    uploads.take([Upload(name, io.BytesIO(content), len(content))], "t", "s", Details(author), engine, store, limits)


def test_what_is_said_anew_while_a_document_is_indexed_counts(engine: sa.Engine, ready: Settings) -> None:
    upload(engine, ready, "a.txt", "Ada")
    batch = pipeline.embed_chunks(pipeline.prepare_chunks(ready), ready)
    upload(engine, ready, "a.txt", "Grace")

    assert pipeline.publish_generation(batch, ready)["published"] is False
    run_all(ready)

    generation = published(engine, ready)
    assert [generation.chunk(int(row)).author for row in generation.select(None).rows] == ["Grace"]
    assert (rows(engine)["a.txt"].state, rows(engine)["a.txt"].author) == ("indexed", "Grace")


def authors(engine: sa.Engine, settings: Settings) -> dict[str, str | None]:
    generation = published(engine, settings)
    return {generation.chunk(int(row)).uri: generation.chunk(int(row)).author for row in generation.select(None).rows}


def test_going_back_does_not_bring_back_what_was_said_before(engine: sa.Engine, ready: Settings) -> None:
    upload(engine, ready, "a.txt", "Ada")
    run_all(ready)
    upload(engine, ready, "b.txt", "Ada")
    run_all(ready)
    upload(engine, ready, "a.txt", "Grace")

    pipeline.serve_again(1, ready)
    run_all(ready)
    assert authors(engine, ready) == {"a.txt": "Grace", "b.txt": "Ada"}

    # Also where what was said anew is indexed by now
    assert pipeline.serve_again(1, ready)["waiting"] == 2
    run_all(ready)
    assert authors(engine, ready) == {"a.txt": "Grace", "b.txt": "Ada"}


def test_a_micro_batch_takes_so_many_documents_and_the_first_landed_first(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("c.txt", "a.txt", "b.txt"):
        upload(engine, ready, name, "Ada")
    monkeypatch.setenv("CUVEE_BATCH_DOCUMENTS", "2")
    two = Settings.load()

    assert run_all(two)["documents"] == 2
    assert {uri for uri, row in rows(engine).items() if row.state == "indexed"} == {"c.txt", "a.txt"}
    with engine.connect() as connection:
        assert ledger.requested(connection)[0] == 1
    assert run_all(two)["documents"] == 3


def test_a_large_batch_is_published_in_shares_and_goes_on_where_it_was_stopped(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        upload(engine, ready, name, "Ada")
    batch = pipeline.embed_chunks(pipeline.prepare_chunks(ready), ready)
    monkeypatch.setattr(index, "_SHARE_CHUNKS", 1)
    publish = index._publish_share

    def stopped(run: Any, part: Any, share: Any, present: Any, making: Any) -> Any:
        if present is not None and present.number == 2:
            raise OSError("the disk is full")
        return publish(run, part, share, present, making)

    with monkeypatch.context() as failing, pytest.raises(OSError, match="full"):
        failing.setattr(index, "_publish_share", stopped)
        pipeline.publish_generation(batch, ready)
    assert published(engine, ready).manifest.documents == 2
    receipt = pipeline.publish_generation(batch, ready)

    assert (receipt["generation"], receipt["documents"]) == (3, 3)
    assert {row.state for row in rows(engine).values()} == {"indexed"}


def test_new_content_replaces_the_old_and_what_was_indexed_before_stays(engine: sa.Engine, ready: Settings) -> None:
    drop(ready, "a.txt", "The code of the gate is 4711.")
    drop(ready, "b.txt", "The vat is full.")
    run_all(ready)

    drop(ready, "a.txt", "The code of the gate is 8020.")
    assert run_all(ready) == {"generation": 2, "documents": 2, "chunks": 2, "published": True, "new_base": True}

    assert found(engine, ready, "What is the code of the gate?") == [
        "The code of the gate is 8020.",
        "The vat is full.",
    ]


def test_a_document_replaced_by_a_broken_one_is_not_answered_from_any_more(engine: sa.Engine, ready: Settings) -> None:
    drop(ready, "a.txt", "The code of the gate is 4711.")
    drop(ready, "b.txt", "The vat is full.")
    run_all(ready)

    drop(ready, "a.txt", "")
    pipeline.land_documents(ready)
    pipeline.prepare_chunks(ready)  # and then that run was killed
    receipt = run_all(ready)

    assert receipt == {"generation": 2, "documents": 1, "chunks": 1, "published": True, "new_base": True}
    assert found(engine, ready, "What is the code of the gate?") == ["The vat is full."]
    assert pipeline.prepare_chunks(ready)["batch_id"] is None


def test_a_failed_document_that_comes_again_is_read_again(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "The vat is full of wine. " * 2500
    drop(ready, "a.txt", content)
    run_all(ready)
    assert rows(engine)["a.txt"].state == "failed"

    monkeypatch.setenv("CUVEE_MAX_DOCUMENT_BYTES", "100000")
    larger = Settings.load()
    drop(larger, "a.txt", content)
    run_all(larger)

    assert (rows(engine)["a.txt"].state, rows(engine)["a.txt"].error) == ("indexed", None)


def test_with_an_empty_inbox_every_step_does_nothing(engine: sa.Engine, ready: Settings) -> None:
    batch = pipeline.prepare_chunks(ready)

    assert batch == {"batch_id": None, "documents": 0, "failed": 0, "chunks": 0}
    assert pipeline.embed_chunks(batch, ready) == {"batch_id": None, "chunks": 0, "seconds": 0.0}
    assert pipeline.publish_generation(batch, ready) == {
        "generation": None,
        "documents": 0,
        "chunks": 0,
        "published": False,
        "new_base": False,
    }


def test_steps_that_are_repeated_reuse_what_is_there(engine: sa.Engine, ready: Settings) -> None:
    drop(ready, "a.txt", "The vat is full.")
    pipeline.land_documents(ready)
    batch = pipeline.prepare_chunks(ready)
    files = sorted((ready.batches_dir / "documents" / batch["batch_id"]).rglob("*"))

    assert pipeline.prepare_chunks(ready) == batch
    assert sorted((ready.batches_dir / "documents" / batch["batch_id"]).rglob("*")) == files
    embedded = pipeline.embed_chunks(batch, ready)
    first = pipeline.publish_generation(embedded, ready)
    assert pipeline.publish_generation(embedded, ready) == {**first, "published": False, "new_base": False}


def test_batches_before_the_published_one_are_removed_and_cannot_be_published(
    engine: sa.Engine, ready: Settings
) -> None:
    drop(ready, "a.txt", "The vat is full.")
    pipeline.land_documents(ready)
    old = pipeline.prepare_chunks(ready)
    drop(ready, "b.txt", "The tank is empty.")
    run_all(ready)

    with pytest.raises(NotFoundError, match="run index_documents from its first task again"):
        pipeline.publish_generation(old, ready)
    assert len(list((ready.batches_dir / "documents").iterdir())) == 1


def test_an_index_goes_on_as_it_was_made_whatever_the_settings_ask_for_now(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(ready, "a.txt", "The vat is full.")
    run_all(ready)
    made = published(engine, ready).manifest
    drop(ready, "b.txt", "The tank is empty.")
    monkeypatch.setenv("CUVEE_CHUNK_TOKENS", "300")
    monkeypatch.setenv("CUVEE_EMBEDDER", f"torch-f32:{ready.embedder}")

    assert run_all(Settings.load())["documents"] == 2
    now = published(engine, ready).manifest
    assert (now.embedder_version, now.chunker) == (made.embedder_version, made.chunker)


def test_an_index_whose_embedder_cannot_be_had_takes_nothing_in_and_says_what_to_do(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(ready, "a.txt", "The vat is full.")
    run_all(ready)
    drop(ready, "b.txt", "The tank is empty.")
    monkeypatch.setattr(model_files, "weights_sha256", lambda *_: "53aa5117" + "0" * 56)

    pipeline.land_documents(ready)
    with pytest.raises(ConfigurationError, match=r"was made with the embedder .* or index everything anew"):
        pipeline.prepare_chunks(ready)
    assert rows(engine)["b.txt"].state == "landed"


CHILD = """
import os, pathlib, signal, sys
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.documents import ledger
from rag_service.index import generation, reclaiming

countdown = int(sys.argv[1])

def tick():
    global countdown
    countdown -= 1
    if countdown == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def dies(owner, name):
    real = getattr(owner, name)
    def wrapped(*args, **kwargs):
        tick()
        result = real(*args, **kwargs)
        tick()
        return result
    setattr(owner, name, wrapped)

dies(pathlib.Path, "rename")
dies(ledger, "mark_failed")
dies(ledger, "mark_indexed")
dies(generation, "publish")
dies(reclaiming, "reclaim")
settings = Settings.load()
batch = pipeline.prepare_chunks(settings)
pipeline.publish_generation(pipeline.embed_chunks(batch, settings), settings)
"""


def test_a_run_killed_anywhere_and_run_again_reaches_the_same_state(engine: sa.Engine, ready: Settings) -> None:
    # Before the chunks are in place, with reasons uncommitted, in the midst of the words' files, with the segment in
    # place, with the generation built, with it uncommitted, and just after the commit.
    moments = (1, 4, 12, 20, 22, 24, 27)
    reached: list[tuple[dict[str, str], dict[str, str]]] = []
    for at in moments:
        forget(engine, ready)
        drop(ready, "a.txt", "The vat is full.")
        drop(ready, "b.txt", "")
        pipeline.land_documents(ready)
        killed = subprocess.run([sys.executable, "-c", CHILD, str(at)], env={**os.environ}, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        run_all(ready)
        run_all(ready)
        reached.append(({uri: row.state for uri, row in rows(engine).items()}, files_of(ready, 1)))
        with engine.connect() as connection:
            published_numbers = connection.execute(sa.select(index_generations.c.number)).scalars().all()
        assert published_numbers == [1]
        assert len(list((ready.index_dir / "generations").iterdir())) == 1

    assert reached == [({"a.txt": "indexed", "b.txt": "failed"}, reached[0][1])] * len(moments)


def forget(engine: sa.Engine, settings: Settings) -> None:
    """Start over, but keep the objects."""
    with engine.begin() as connection:
        connection.execute(sa.delete(documents))
        connection.execute(sa.delete(index_generations))
    for folder in (settings.index_dir, settings.batches_dir):
        subprocess.run(["rm", "-rf", str(folder)], check=True)
