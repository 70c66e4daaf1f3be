"""The served app on a real PostgreSQL and a real index: answers, refusals, errors, the question log."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from cuvee.database import documents, questions
from cuvee.errors import ConfigurationError
from cuvee.settings import Settings
from rag_service.documents.cleaning import clean
from rag_service.feedback import log
from rag_service.index.embedder import shared
from tests.integration.rag_service.serving import GAS, LIBRARY, MUSEUM, Library
from tests.unit.rag_service.index.crossencoder import save_crossencoder

pytestmark = pytest.mark.integration

MUSEUM_QUESTION = "When does the cellar museum open?"


def rows(engine: sa.Engine) -> list[sa.Row]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(questions).order_by(questions.c.asked_at)).all())


def test_an_answer_cites_passages_that_hold_its_sentences_at_the_span_they_give(client: TestClient) -> None:
    answer = client.post("/ask", json={"question": MUSEUM_QUESTION}).json()

    assert not answer["refused"]
    opens = next(s for s in answer["sentences"] if "first Sunday of March" in s["text"])
    sources = {source["number"]: source for source in answer["sources"]}
    assert list(sources) == sorted(sources)
    assert {number for sentence in answer["sentences"] for number in sentence["citations"]} == set(sources)
    cited = sources[opens["citations"][0]]
    assert (cited["uri"], cited["title"], cited["document_id"]) == ("museum.txt", "The cellar museum", "doc-museum")
    for sentence in answer["sentences"]:
        for number in sentence["citations"]:
            assert all(line in sources[number]["text"] for line in sentence["text"].splitlines())
    cleaned = {f"{name}.txt": clean([text], False).text for name, (_, text) in LIBRARY.items()}
    for source in answer["sources"]:
        assert cleaned[source["uri"]][source["start_char"] : source["end_char"]] == source["text"]


def test_the_answer_text_is_its_sentences_with_their_citations(client: TestClient) -> None:
    answer = client.post("/ask", json={"question": MUSEUM_QUESTION}).json()

    marked = [s["text"] + " " + "".join(f"[{n}]" for n in s["citations"]) for s in answer["sentences"]]
    assert answer["answer"] == " ".join(marked)


def test_versions_and_timings_come_with_every_answer(client: TestClient) -> None:
    answer = client.post("/ask", json={"question": MUSEUM_QUESTION}).json()

    assert answer["versions"]["generation"] == 1
    assert answer["versions"]["embedder"].startswith("all-MiniLM-L6-v2@53aa5117")
    assert answer["versions"]["answer_model"] == "extractive-5"
    assert set(answer["timings_ms"]) == {"embed", "search", "answer", "total"}


def test_a_question_that_no_document_answers_is_refused_without_sources(client: TestClient, library: Library) -> None:
    answer = client.post("/ask", json={"question": "Who won the football world cup in 1998?"}).json()

    assert (answer["refused"], answer["sentences"], answer["sources"]) == (True, [], [])
    assert answer["answer"] == (
        f"Not found in the documents. Searched {len(library.passages)} passages of 3 documents: "
        "the passages found do not seem to hold an answer."
    )


def test_topic_and_segment_narrow_what_is_answered_from(client: TestClient) -> None:
    def ask(**place: str) -> dict:
        return client.post("/ask", json={"question": MUSEUM_QUESTION, **place}).json()

    assert not ask(topic="visits", segment="museum")["refused"]
    assert ask(topic="visits", segment="shop")["answer"].endswith(": nothing is indexed there.")
    assert "do not seem to hold" in ask(topic="cellar")["answer"]


def test_every_question_is_a_row_that_says_what_was_answered(
    client: TestClient, library: Library, engine: sa.Engine
) -> None:
    answered = client.post("/ask", json={"question": MUSEUM_QUESTION, "topic": "visits"}).json()
    refused = client.post("/ask", json={"question": "Who won the football world cup in 1998?"}).json()

    first, second = rows(engine)
    assert (first.question_id, second.question_id) == (
        uuid.UUID(answered["question_id"]),
        uuid.UUID(refused["question_id"]),
    )
    assert (first.question, first.topic, first.segment, first.refused) == (MUSEUM_QUESTION, "visits", None, False)
    assert first.key_id == library.key_id
    for name in ("answer", "sentences", "timings_ms"):
        assert getattr(first, name) == answered[name]
    assert first.versions == answered["versions"] | {"draft": "kept"}
    for logged, shown in zip(first.sources, answered["sources"], strict=True):
        assert shown.items() <= (logged | {"deleted": False}).items()
        assert [quote["text"] for quote in logged["quotes"]]
    assert (second.refused, second.sources, second.answer) == (True, [], refused["answer"])


def test_an_answer_that_could_not_be_logged_is_not_given(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OperationalError("insert", {}, Exception("server closed the connection"))

    monkeypatch.setattr(log, "record", broken)
    answer = client.post("/ask", json={"question": MUSEUM_QUESTION})

    assert answer.status_code == 503
    assert set(answer.json()) == {"error"}


def test_search_gives_the_best_passages_first_with_their_scores(client: TestClient, library: Library) -> None:
    found = client.post("/search", json={"query": "Which detectors measure the gas?", "top_k": 3}).json()

    by_text = {passage["text"]: passage["chunk_id"] for passage in library.passages}
    assert [by_text[hit["text"]] for hit in found["hits"]] == [hit["chunk_id"] for hit in found["hits"]]
    assert found["hits"][0]["uri"] == "gas.txt"
    scores = [hit["score"] for hit in found["hits"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 2 * scores[1]
    assert found["generation"] == 1


def test_search_finds_only_in_the_topic_and_segment_asked_for(client: TestClient) -> None:
    def found(**place: str) -> set[str]:
        hits = client.post("/search", json={"query": "cellar", "top_k": 50, **place}).json()["hits"]
        return {hit["uri"] for hit in hits}

    assert found() == {"museum.txt", "gas.txt", "barrels.txt"}
    assert found(topic="cellar") == {"gas.txt", "barrels.txt"}
    assert found(topic="cellar", segment="ageing") == {"barrels.txt"}
    assert found(segment="nowhere") == set()


def test_readiness_names_what_is_served(client: TestClient, library: Library) -> None:
    ready = client.get("/health/ready").json()

    assert ready == {
        "status": "ready",
        "generation": 1,
        "documents": len(LIBRARY),
        "chunks": len(library.passages),
        "embedder": shared("all-MiniLM-L6-v2", 240).version,
        "answer_model": "extractive-5",
        "reranker": None,
        "problem": None,
    }


def test_before_anything_is_indexed_the_service_lives_and_says_what_to_do(
    settings: Settings, engine: sa.Engine, serve: Callable[..., TestClient]
) -> None:
    empty = serve(settings)

    assert empty.get("/health/live").status_code == 200
    for answer in (empty.get("/health/ready"), empty.post("/ask", json={"question": "Is anyone there?"})):
        assert answer.status_code == 503
        assert answer.json()["error"]["type"] == "not_ready"
        assert "Nothing is indexed yet: put files into" in answer.json()["error"]["message"]
    assert empty.get("/documents").json() == {"documents": [], "total": 0, "limit": 100, "offset": 0}


def test_without_its_database_the_service_starts_says_so_and_keeps_addresses_to_itself(
    settings: Settings, serve: Callable[..., TestClient]
) -> None:
    down = serve(settings.model_copy(update={"database_url": "postgresql+psycopg2://nobody@127.0.0.1:9/secret_name"}))

    assert down.get("/health/live").status_code == 200
    for answer in (down.get("/health/ready"), down.get("/documents")):
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "not_ready")
        assert "database does not answer" in answer.json()["error"]["message"]
        assert "secret_name" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/ask", {"question": MUSEUM_QUESTION}),
        ("POST", "/search", {"query": MUSEUM_QUESTION}),
        ("GET", "/documents", None),
        ("GET", "/documents/doc-museum", None),
    ],
)
def test_every_route_asks_for_a_key_with_the_scope_rag(
    method: str, path: str, body: dict | None, client: TestClient
) -> None:
    def status(authorization: str) -> tuple[int, str]:
        answer = client.request(method, path, json=body, headers={"authorization": authorization})
        return answer.status_code, answer.json()["error"]["type"]

    assert status("") == (401, "unauthorized")
    assert status("Bearer cuvee_unknown") == (401, "unauthorized")
    assert status("Bearer cuvee_wine-only") == (403, "forbidden")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"question": ""}, "question"),
        ({"question": " \n\t "}, "question"),
        ({"question": "x" * 2001}, "question"),
        ({"question": "a\x00b"}, "question"),
        ({"question": None}, "question"),
        ({"question": "\u200b\u200b"}, "question"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 51}, "top_k"),
        ({"topic": "t" * 201}, "topic"),
        ({"segment": "s\x00"}, "segment"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_request_out_of_bounds_is_422_names_the_field_and_is_not_logged(
    change: dict, named: str, client: TestClient, engine: sa.Engine
) -> None:
    answer = client.post("/ask", json={"question": MUSEUM_QUESTION} | change)

    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_input")
    assert named in answer.json()["error"]["message"]
    assert rows(engine) == []


@pytest.mark.parametrize("question", ["x" * 2000, "Où est l\u2019élevage ? \U0001f377", "' or 1=1; --", "<script>"])
def test_a_question_within_bounds_is_answered_or_refused_and_logged_as_it_was_asked(
    question: str, client: TestClient, engine: sa.Engine
) -> None:
    answer = client.post("/ask", json={"question": question, "top_k": 50})

    assert answer.status_code == 200
    assert [row.question for row in rows(engine)] == [question]


def add_documents(engine: sa.Engine, count: int) -> None:
    states = ("indexed", "failed", "landed")
    made = [
        {
            "document_id": f"doc-{number}",
            "topic": "visits" if number % 2 else "cellar",
            "segment": "s",
            "uri": f"{number}.txt",
            "sha256": "00",
            "size_bytes": number,
            "state": states[number % 3],
            "error": "The file is empty." if number % 3 == 1 else None,
            "chunks": 4 if number % 3 == 0 else None,
        }
        for number in range(count)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(documents), made)


def test_documents_are_listed_by_state_topic_and_page(client: TestClient, engine: sa.Engine) -> None:
    add_documents(engine, 12)

    def listed(**filters: object) -> tuple[set[str], int]:
        answer = client.get("/documents", params=filters).json()
        return {document["document_id"] for document in answer["documents"]}, answer["total"]

    assert listed(state="failed") == ({"doc-1", "doc-4", "doc-7", "doc-10"}, 4)
    assert listed(state="failed", topic="visits") == ({"doc-1", "doc-7"}, 2)
    assert listed(segment="other") == (set(), 0)
    pages = [listed(limit=5, offset=offset) for offset in (0, 5, 10)]
    assert [len(page) for page, _ in pages] == [5, 5, 2]
    assert len(set.union(*(page for page, _ in pages))) == 12
    assert {total for _, total in pages} == {12}


def test_one_document_shows_its_state_error_counts_and_times(client: TestClient, engine: sa.Engine) -> None:
    add_documents(engine, 2)

    failed = client.get("/documents/doc-1").json()

    assert (failed["state"], failed["error"], failed["size_bytes"]) == ("failed", "The file is empty.", 1)
    assert (failed["chunks"], failed["indexed_at"]) == (None, None)
    assert failed["landed_at"].startswith("20")


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/documents/nowhere", 404, "not_found"),
        ("/documents/a%00b", 422, "invalid_input"),
        ("/documents?state=lost", 422, "invalid_input"),
        ("/documents?limit=1001", 422, "invalid_input"),
        ("/documents?offset=-1", 422, "invalid_input"),
        ("/documents?topic=%00", 422, "invalid_input"),
    ],
)
def test_wrong_document_requests_have_their_status(path: str, status: int, kind: str, client: TestClient) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


def test_the_passages_of_the_library_are_what_these_tests_say(library: Library) -> None:
    assert GAS in LIBRARY["gas"][1] and MUSEUM in LIBRARY["museum"][1]
    assert len(library.passages) >= len(LIBRARY)


def test_a_reranker_orders_the_passages_and_is_named_with_every_answer(
    library: Library, settings: Settings, serve: Callable[[Settings], TestClient], tmp_path: Path
) -> None:
    folder = save_crossencoder(tmp_path / "reranker", "barrels")
    plain, client = serve(settings), serve(settings.model_copy(update={"reranker": str(folder)}))
    body = {"query": "When does the cellar museum open?"}

    before, after = plain.post("/search", json=body).json(), client.post("/search", json=body).json()
    answers = [one.post("/ask", json={"question": body["query"]}).json() for one in (plain, client)]

    assert (before["hits"][0]["uri"], after["hits"][0]["uri"]) == ("museum.txt", "barrels.txt")
    score = {hit["chunk_id"]: hit["score"] for hit in before["hits"]}
    shown = [hit for hit in after["hits"] if hit["chunk_id"] in score]
    assert shown and all(hit["score"] == score[hit["chunk_id"]] for hit in shown)
    assert [one["versions"]["reranker"] for one in answers] == [None, after["reranker"]]
    assert after["reranker"].startswith(f"{folder}@")
    assert client.get(f"/questions/{answers[1]['question_id']}").json()["versions"] == answers[1]["versions"]
    assert client.get("/health/ready").json()["reranker"] == after["reranker"]


def test_a_reranker_that_cannot_be_had_is_an_error_at_start(
    library: Library, settings: Settings, serve: object
) -> None:
    with pytest.raises(ConfigurationError, match="CUVEE_RERANKER"):
        serve(settings.model_copy(update={"reranker": "./no-such-reranker"}))  # type: ignore[operator]
