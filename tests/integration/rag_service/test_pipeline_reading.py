"""One document on its way through a Python worker: whatever is wrong with it becomes its reason, and no exception."""

import datetime
import io
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from PyPDF2 import PdfWriter
from PyPDF2.generic import NameObject, StreamObject

from cuvee.objects import ObjectStore
from rag_service.documents import readers
from rag_service.documents.chunking import ChunkingRule
from rag_service.documents.readers import ReadLimits
from spark_jobs import documents
from spark_jobs.documents import Preparation, prepare
from tests.integration.rag_service.live import pdf

pytestmark = pytest.mark.integration

PLACE = {
    "document_id": "d",
    "landed_at": "2026-01-02T03:04:05+00:00",
    "topic": "t",
    "segment": "s",
    "uri": "a.txt",
    "source": "inbox",
}


def prepared(
    tmp_path: Path, content: bytes, uri: str = "a.txt", seconds: float = 20.0, given: str = "{}"
) -> list[dict[str, Any]]:
    store = ObjectStore(str(tmp_path))
    stored = store.put(io.BytesIO(content))
    preparation = Preparation(str(tmp_path), "none", ChunkingRule(200, 20), ReadLimits(10**7, 10**6), seconds)
    row = {**PLACE, "uri": uri, "sha256": stored.sha256, "size_bytes": stored.size_bytes, "given": given}
    return prepare(row, store, lambda text: [(at, at + 1) for at in range(len(text))], preparation)


def test_a_document_gives_its_outcome_and_its_chunks_and_its_text_is_stored(tmp_path: Path) -> None:
    outcome, *chunks = prepared(tmp_path, b"The vat  is full.\r\n\r\nOpen the tap.", "sub/vat%20log.txt")

    text = ObjectStore(str(tmp_path)).read(outcome["text_sha256"]).decode()
    assert text == "The vat is full.\n\nOpen the tap."
    assert (outcome["title"], outcome["chars"], outcome["chunks"], outcome["pages"]) == ("Vat log", 31, 1, None)
    assert [(c["chunk_id"], c["ordinal"], c["start_char"], c["end_char"], c["text"]) for c in chunks] == [
        ("d:0", 0, 0, 31, text)
    ]


def test_a_chunk_over_two_pages_says_where_the_second_begins(tmp_path: Path) -> None:
    _, chunk = prepared(tmp_path, pdf("The vat is full.", "Open the tap."), "a.pdf")

    assert (chunk["text"], chunk["page"]) == ("The vat is full.\n\nOpen the tap.", 1)
    assert chunk["page_breaks"] == (chunk["text"].index("Open"),)


def test_what_its_sender_says_of_a_document_goes_before_what_it_says_itself(tmp_path: Path) -> None:
    content = b"---\nauthor: Ada\ndate: 2020-01-02\nvintage: 2019\nrow: 7\n---\nThe vat is full."
    given = '{"author": "Grace", "metadata": {"vintage": "2021", "block": "north"}}'

    outcome, chunk = prepared(tmp_path, content, "a.md", given=given)

    for said in (outcome, chunk):
        assert (said["author"], said["date"]) == ("Grace", datetime.date(2020, 1, 2))
        assert said["metadata"] == {"block": "north", "row": "7", "vintage": "2021"}


def test_a_document_that_takes_too_long_is_cut_off_and_says_which_setting_did_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "read", lambda *_: time.sleep(30))
    started = time.monotonic()

    (outcome,) = prepared(tmp_path, b"text", seconds=0.2)

    assert "took too long (CUVEE_READ_TIMEOUT_SECONDS=0.2)" in outcome["error"]
    assert time.monotonic() - started < 10


def test_a_defect_of_a_reader_fails_its_document_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "read", lambda *_: 1 // 0)

    (outcome,) = prepared(tmp_path, b"text")

    assert outcome == {**PLACE, "error": "Could not be read: ZeroDivisionError. Spark's log has the details."}


def test_a_document_whose_bytes_are_gone_says_so(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    preparation = Preparation(str(tmp_path), "none", ChunkingRule(200, 20), ReadLimits(100, 100), 5)

    (outcome,) = prepare({**PLACE, "sha256": "0" * 64, "size_bytes": 4}, store, lambda _: [], preparation)

    assert outcome["error"] == f"Object {'0' * 64} is not in {tmp_path}."


def test_a_small_pdf_that_unpacks_to_gigabytes_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MOST_READER_BYTES", 100_000_000)
    packed = zlib.compress(b"BT " + b" " * 400_000_000, 9)

    (outcome,) = prepared(tmp_path, pdf_with(packed), "bomb.pdf")

    assert outcome["error"] == "Reading the document took too much memory; split it."


def pdf_with(packed: bytes) -> bytes:
    """A PDF whose only page shows the zlib-compressed stream `packed`."""
    writer, out = PdfWriter(), io.BytesIO()
    writer.add_blank_page(100, 100)
    raw = StreamObject()
    raw._data = packed
    raw[NameObject("/Filter")] = NameObject("/FlateDecode")
    writer.pages[0][NameObject("/Contents")] = writer._add_object(raw)
    writer.write(out)
    return out.getvalue()
