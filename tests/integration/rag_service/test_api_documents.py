"""Documents over HTTP: sent in, read, tried again, deleted; what is wrong with a file is told at once."""

import io
import json
import zipfile

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from cuvee.database import documents
from cuvee.objects import ObjectStore
from cuvee.settings import Settings
from rag_service.documents import ledger
from rag_service.documents.cleaning import clean
from tests.integration.rag_service.live import document, document_id, pdf, set_document, shelve
from tests.integration.rag_service.serving import LIBRARY

pytestmark = pytest.mark.integration

PLACE = {"topic": "cellar", "segment": "safety"}
TEXT = b"Leave the cellar at once."


def send(client: TestClient, *files: tuple[str, bytes], **place: str):
    parts = [("files", (name, content)) for name, content in files]
    return client.post("/documents", data=PLACE | place, files=parts)


def count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(documents)).scalar_one()


def test_a_file_that_is_sent_has_landed_and_can_be_looked_up_at_once(
    client: TestClient, engine: sa.Engine, settings: Settings
) -> None:
    answer = send(client, ("alarm.txt", TEXT))

    assert answer.status_code == 202
    (sent,) = answer.json()["documents"]
    assert sent["document_id"] == document_id("cellar", "safety", "alarm.txt", TEXT)
    assert (sent["state"], sent["uri"], sent["size_bytes"]) == ("landed", "alarm.txt", len(TEXT))
    assert sent["source"] == "upload"
    assert client.get(f"/documents/{sent['document_id']}").json() == sent
    row = document(engine, sent["document_id"])
    assert ObjectStore(settings.resolved_objects_url).read(row.sha256) == TEXT


def test_what_is_sent_in_and_tried_again_and_deleted_wakes_the_dag(
    client: TestClient, engine: sa.Engine, settings: Settings
) -> None:
    def requested() -> tuple[int, str]:
        with engine.connect() as connection:
            return ledger.requested(connection)

    shelve(engine, settings)
    set_document(engine, "doc-gas", in_index=True)
    set_document(engine, "doc-museum", state="failed", error="The disk was full.")
    assert requested() == (0, "")
    seen = []
    for act in (
        lambda: send(client, ("alarm.txt", TEXT)),
        lambda: client.post("/documents/doc-museum/retry"),
        lambda: client.delete("/documents/doc-gas"),
    ):
        assert act().status_code == 202
        seen.append(requested())

    assert [count for count, _ in seen] == [1, 2, 3]
    assert len({state for _, state in seen}) == 3


def test_the_same_file_again_is_the_same_document_and_newer_content_supersedes_it(
    client: TestClient, engine: sa.Engine
) -> None:
    first = send(client, ("a.txt", b"one")).json()["documents"][0]["document_id"]
    again = send(client, ("a.txt", b"one")).json()["documents"][0]["document_id"]
    newer = send(client, ("a.txt", b"two")).json()["documents"][0]["document_id"]

    assert first == again != newer
    assert [document(engine, one).state for one in (first, newer)] == ["superseded", "landed"]


DETAILS = {"author": "Grace  Hopper", "date": "2024-05-06", "metadata": '{"vintage": "2021"}'}
SAID = {"author": "Grace Hopper", "date": "2024-05-06", "metadata": {"vintage": "2021"}}


def test_what_is_said_of_an_upload_comes_with_it(client: TestClient, engine: sa.Engine) -> None:
    (sent,) = send(client, ("a.txt", b"one"), **DETAILS).json()["documents"]

    assert {name: sent[name] for name in SAID} == SAID
    with engine.connect() as connection:
        (waiting,) = ledger.landed(connection, 10)
    assert waiting.given == SAID


def test_the_same_file_is_read_again_where_something_else_is_said_of_it(client: TestClient, engine: sa.Engine) -> None:
    first = send(client, ("a.txt", b"one"), **DETAILS).json()["documents"][0]["document_id"]
    set_document(engine, first, state="indexed")

    for details, state in (({}, "indexed"), (DETAILS, "indexed"), (DETAILS | {"author": "Ada"}, "landed")):
        (sent,) = send(client, ("a.txt", b"one"), **details).json()["documents"]
        assert (sent["document_id"], sent["state"]) == (first, state)
    assert (sent["author"], sent["metadata"]) == ("Ada", SAID["metadata"])


@pytest.mark.parametrize(
    ("details", "named"),
    [
        ({"date": "yesterday"}, "date"),
        ({"date": "1300-01-01"}, "date"),
        ({"author": "x" * 201}, "author"),
        ({"author": "\u200b"}, "author"),
        ({"metadata": "vintage=2021"}, "metadata"),
        ({"metadata": '["vintage"]'}, "metadata"),
        ({"metadata": '{"vintage": 2021}'}, "metadata.vintage"),
        ({"metadata": '{"Vintage year": "2021"}'}, "metadata.Vintage year"),
        ({"metadata": '{"vintage": ""}'}, "metadata.vintage"),
        ({"metadata": json.dumps({f"k{n}": "v" for n in range(17)})}, "metadata"),
    ],
)
def test_what_cannot_be_said_of_an_upload_is_422_and_named(
    details: dict[str, str], named: str, client: TestClient, engine: sa.Engine
) -> None:
    answer = send(client, ("a.txt", b"one"), **details)

    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_input")
    assert answer.json()["error"]["message"].startswith(f"{named}")
    assert count(engine) == 0


def test_the_documentation_shows_what_can_be_said_of_an_upload(client: TestClient) -> None:
    body = client.get("/openapi.json").json()["paths"]["/documents"]["post"]["requestBody"]
    shown = body["content"]["multipart/form-data"]["schema"]["properties"]

    assert set(shown) == {"files", "topic", "segment", *SAID}
    assert (shown["date"]["format"], shown["metadata"]["maxProperties"]) == ("date", 16)


def test_a_file_that_cannot_be_taken_does_not_stop_the_others(client: TestClient, engine: sa.Engine) -> None:
    answer = send(client, ("a.txt", b"one"), ("virus.exe", b"MZ"), ("b.pdf", pdf("x"))).json()

    assert [one["uri"] for one in answer["documents"]] == ["a.txt", "b.pdf"]
    (refused,) = answer["refused"]
    assert refused["name"] == "virus.exe" and "'.exe' are not supported" in refused["reason"]
    assert count(engine) == 2


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("x.txt", "x")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.exe", b"MZ", "not supported"),
        ("a.pdf", b"no pdf", "this is not a PDF file"),
        ("a.zip", archive(), "not supported"),
        ("a.docx", archive(), "this is not a Word document"),
        ("a.txt", b"", "empty"),
        (".hidden.txt", b"x", "Hidden"),
        ("a.txt.part", b"x", "unfinished"),
        ("a" * 201 + ".txt", b"x", "name of the file is too long"),
    ],
)
def test_a_file_that_cannot_be_taken_is_422_with_the_reason(
    name: str, content: bytes, reason: str, client: TestClient, engine: sa.Engine
) -> None:
    answer = send(client, (name, content))

    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_input")
    assert reason in answer.json()["error"]["message"]
    assert count(engine) == 0


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\me\\rapport été.txt", "rapport été.txt"),
        ("100% \u202enot.txt", "100%25 %E2%80%AEnot.txt"),
    ],
)
def test_names_are_made_safe_as_the_inbox_makes_them(name: str, uri: str, client: TestClient) -> None:
    assert [one["uri"] for one in send(client, (name, b"text")).json()["documents"]] == [uri]


@pytest.mark.parametrize("place", [{"topic": ""}, {"topic": "a/b"}, {"segment": ".."}, {"segment": "x" * 201}])
def test_a_place_that_the_inbox_could_not_have_is_refused(place: dict, client: TestClient, engine: sa.Engine) -> None:
    answer = send(client, ("a.txt", b"x"), **place)

    assert answer.status_code == 422 and next(iter(place)) in answer.json()["error"]["message"]
    assert count(engine) == 0


def test_no_file_no_form_and_too_many_files_are_refused(client: TestClient, engine: sa.Engine) -> None:
    answers = [
        client.post("/documents", data=PLACE),
        client.post("/documents", json=PLACE),
        client.post("/documents", files={"files": ("a.txt", b"x")}),
        client.post("/documents", data=PLACE | {"files": "text"}),
        send(client, *((f"{number}.txt", b"x") for number in range(21))),
        client.post("/documents", content=b"junk", headers={"content-type": "multipart/form-data; boundary=x"}),
    ]

    assert [answer.status_code for answer in answers] == [422, 422, 422, 422, 400, 400]
    assert all(answer.json()["error"]["type"] == "invalid_input" for answer in answers)
    assert count(engine) == 0


def test_uploads_may_be_larger_than_other_requests_up_to_limits_of_their_own(
    library: object, settings: Settings, serve: object, engine: sa.Engine
) -> None:
    limits = {"max_request_bytes": 1_000, "max_upload_bytes": 20_000, "max_document_bytes": 5_000}
    client: TestClient = serve(settings.model_copy(update=limits))  # type: ignore[operator]

    assert send(client, ("a.txt", b"x" * 5_000)).status_code == 202
    too_large = send(client, ("a.txt", b"x" * 5_001))
    assert (too_large.status_code, too_large.json()["error"]["type"]) == (413, "too_large")
    assert "CUVEE_MAX_DOCUMENT_BYTES" in too_large.json()["error"]["message"]
    assert send(client, *((f"{n}.txt", b"x" * 4_900) for n in range(5))).status_code == 413
    assert client.post("/ask", json={"question": "x" * 1_500}).status_code == 413
    assert count(engine) == 1


def test_a_failed_document_can_be_tried_again_and_no_other(client: TestClient, engine: sa.Engine) -> None:
    sent = send(client, ("a.txt", TEXT)).json()["documents"][0]
    assert client.post(f"/documents/{sent['document_id']}/retry").status_code == 422
    set_document(engine, sent["document_id"], state="failed", error="The disk was full.")

    again = client.post(f"/documents/{sent['document_id']}/retry")

    assert (again.status_code, again.json()["state"]) == (202, "landed")
    assert again.json()["landed_at"] > sent["landed_at"]
    assert client.post("/documents/nowhere/retry").status_code == 404


def test_a_deleted_document_is_marked_and_shows_nothing_any_more(
    client: TestClient, engine: sa.Engine, settings: Settings
) -> None:
    shelve(engine, settings)

    deleted = client.delete("/documents/doc-gas")

    assert (deleted.status_code, deleted.json()["state"]) == (202, "deleted")
    for path in ("/documents/doc-gas/text", "/documents/doc-gas/raw"):
        assert client.get(path).status_code == 404
    assert [client.delete(f"/documents/{one}").status_code for one in ("doc-gas", "nowhere")] == [202, 404]
    assert document(engine, "doc-museum").state == "indexed"


def test_the_text_of_a_document_comes_in_the_slices_that_citations_point_into(
    client: TestClient, engine: sa.Engine, settings: Settings
) -> None:
    shelve(engine, settings)
    answer = client.post("/ask", json={"question": "When does the cellar museum open?"}).json()
    source = answer["sources"][0]

    def text(**part: int) -> dict:
        return client.get(f"/documents/{source['document_id']}/text", params=part).json()

    exact = text(start=source["start_char"], end=source["end_char"])
    assert exact["text"] == source["text"]
    for quote in source["quotes"]:
        assert text(start=quote["start_char"], end=quote["end_char"])["text"] == quote["text"]
    whole = clean([LIBRARY["museum"][1]], False).text
    assert text() | {"text": whole} == text(start=0, end=10**6)
    assert (exact["total_chars"], exact["title"], exact["media_type"]) == (
        len(whole),
        "The cellar museum",
        "text/plain",
    )
    beyond = text(start=10**6)
    assert (beyond["text"], beyond["start_char"]) == ("", len(whole))


def test_a_document_without_text_says_why(client: TestClient, engine: sa.Engine) -> None:
    sent = send(client, ("a.txt", TEXT)).json()["documents"][0]["document_id"]

    waiting = client.get(f"/documents/{sent}/text")
    set_document(engine, sent, state="failed", error="It is locked by a password.")
    failed = client.get(f"/documents/{sent}/text")

    assert (waiting.status_code, failed.status_code) == (404, 404)
    assert "not indexed yet" in waiting.json()["error"]["message"]
    assert "locked by a password" in failed.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "content", "media_type", "disposition"),
    [
        ("a b.pdf", pdf("x"), "application/pdf", "inline"),
        ("é.txt", b"caf\xe9", "text/plain", "inline"),
        ("a.html", b"<html><script>alert(1)</script>text", "text/html", "attachment"),
    ],
)
def test_the_original_comes_as_it_was_sent_and_runs_nothing(
    name: str, content: bytes, media_type: str, disposition: str, client: TestClient
) -> None:
    sent = send(client, (name, content)).json()["documents"][0]["document_id"]

    raw = client.get(f"/documents/{sent}/raw")

    assert (raw.content, raw.headers["content-type"]) == (content, media_type)
    assert raw.headers["content-disposition"].startswith(f"{disposition}; filename*=UTF-8''")
    assert raw.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in raw.headers["content-security-policy"]


def test_topics_and_segments_are_listed_with_their_counts(
    client: TestClient, engine: sa.Engine, settings: Settings
) -> None:
    shelve(engine, settings)
    send(client, ("a.txt", b"one"), ("b.txt", b"two"))
    set_document(engine, document_id("cellar", "safety", "b.txt", b"two"), state="failed")
    client.delete("/documents/doc-barrels")

    assert client.get("/topics").json()["topics"] == [
        {"topic": "cellar", "segments": [{"segment": "safety", "landed": 1, "indexed": 1, "failed": 1}]},
        {"topic": "visits", "segments": [{"segment": "museum", "landed": 0, "indexed": 1, "failed": 0}]},
    ]


def test_documents_in_several_states_are_listed_together(
    client: TestClient, engine: sa.Engine, settings: Settings
) -> None:
    shelve(engine, settings)
    set_document(engine, "doc-gas", state="failed")
    set_document(engine, "doc-museum", state="superseded")

    listed = client.get("/documents", params={"state": ["indexed", "failed"]}).json()

    assert {one["document_id"] for one in listed["documents"]} == {"doc-gas", "doc-barrels"}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/documents", "documents"),
        ("DELETE", "/documents/doc-gas", "documents"),
        ("POST", "/documents/doc-gas/retry", "documents"),
        ("GET", "/documents/doc-gas/text", "rag"),
        ("GET", "/documents/doc-gas/raw", "rag"),
        ("GET", "/topics", "rag"),
    ],
)
def test_changing_documents_needs_another_scope_than_reading_them(
    method: str, path: str, scope: str, client: TestClient
) -> None:
    unknown = client.request(method, path, headers={"authorization": ""})
    lacking = client.request(method, path, headers={"authorization": "Bearer cuvee_wine-only"})

    assert (unknown.status_code, lacking.status_code) == (401, 403)
    assert f"'{scope}'" in lacking.json()["error"]["message"]
