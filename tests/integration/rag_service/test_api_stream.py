"""Answers as they come: the order of events, errors on the way, and what happens when nobody listens any more."""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection

import anyio.from_thread
import httpx
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from cuvee.database import questions
from cuvee.settings import Settings
from rag_service.answers.answerer import Answerer, Checked, Token
from rag_service.feedback import log
from tests.integration.rag_service.conftest import KEY
from tests.integration.rag_service.live import served
from tests.integration.rag_service.serving import Library

pytestmark = pytest.mark.integration

QUESTION = "When does the cellar museum open?"
OFF_TOPIC = "Who won the football world cup in 1998?"


def events(client: TestClient | httpx.Client, **body: object) -> list[tuple[str, dict]]:
    """Names and data of the events that answer a question."""
    with client.stream("POST", "/ask", json={"question": QUESTION, "stream": True, **body}) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        text = "".join(response.iter_text())
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def asked(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(questions)).scalar_one()


def test_the_passages_come_first_then_the_draft_and_last_the_answer(client: TestClient) -> None:
    found = events(client, topic="visits")

    names = [name for name, _ in found]
    assert (names[0], names[-1]) == ("sources", "answer")
    assert set(names[1:-1]) == {"token"}
    passages = found[0][1]["sources"]
    assert [passage["number"] for passage in passages] == list(range(1, len(passages) + 1))
    assert {passage["document_id"] for passage in passages} == {"doc-museum"}
    assert "first Sunday of March" in "".join(data["text"] for name, data in found if name == "token")
    assert "first Sunday of March" in found[-1][1]["answer"]


def test_the_last_event_is_what_the_same_question_gets_without_stream_and_is_logged(
    client: TestClient, engine: sa.Engine
) -> None:
    streamed = events(client)[-1][1]
    whole = client.post("/ask", json={"question": QUESTION}).json()

    changing = ("question_id", "timings_ms")
    assert {k: v for k, v in streamed.items() if k not in changing} == {
        k: v for k, v in whole.items() if k not in changing
    }
    assert log.find(engine, uuid.UUID(streamed["question_id"])).answer == streamed["answer"]


def test_a_refusal_shows_the_nearest_passages_and_cites_none(client: TestClient) -> None:
    refused = events(client, question=OFF_TOPIC)[-1][1]

    assert (refused["refused"], refused["sources"], refused["sentences"]) == (True, [], [])
    assert refused["nearest"] and all(passage["text"] for passage in refused["nearest"])


@pytest.mark.parametrize("body", [{"question": "\u200b"}, {"filter": {"colour": "red"}}, {"history": [{"role": "me"}]}])
def test_what_is_wrong_with_the_question_is_told_before_the_stream_begins(body: dict, client: TestClient) -> None:
    answer = client.post("/ask", json={"question": QUESTION, "stream": True, **body})

    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_input")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OperationalError("insert", {}, Exception("server closed the connection")), "not_ready"),
        (RuntimeError("secret"), "internal_error"),
    ],
)
def test_an_answer_that_cannot_be_logged_ends_in_an_error_event_instead(
    error: Exception, kind: str, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(log, "record", broken)
    found = events(client)

    assert [name for name, _ in found if name in ("answer", "error")] == ["error"]
    assert found[-1][1]["error"]["type"] == kind
    assert "secret" not in json.dumps(found[-1][1])


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An answerer that drafts for ever; set once it has stopped."""
    stopped = threading.Event()

    def stream(*_: object) -> Iterator[Token]:
        try:
            while True:
                time.sleep(0.01)
                yield Token("and ")
        finally:
            stopped.set()

    monkeypatch.setattr(Answerer, "stream", stream)
    return stopped


def test_the_work_ends_when_the_client_goes_away_and_the_service_goes_on(
    library: Library, settings: Settings, engine: sa.Engine, endless: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(settings) as url, httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
        for _ in range(6):  # more than may work at once: each must give its place back
            endless.clear()
            with client.stream("POST", "/ask", json={"question": QUESTION, "stream": True}) as response:
                next(line for line in response.iter_lines() if line.startswith("data"))
            assert endless.wait(5)
        monkeypatch.undo()
        assert events(client)[-1][0] == "answer"

    assert asked(engine) == 1


ASKED = [
    ("/ask", {"question": QUESTION}),
    ("/ask", {"question": QUESTION, "stream": True}),
    ("/v1/chat/completions", {"model": "cuvee", "messages": [{"role": "user", "content": QUESTION}]}),
    ("/v1/chat/completions", {"model": "cuvee", "messages": [{"role": "user", "content": QUESTION}], "stream": True}),
]


def leave_when(sign: threading.Event, url: str, path: str, body: dict) -> None:
    """Ask, and hang up without having read anything once `sign` is set."""
    with closing(HTTPConnection(url.removeprefix("http://"))) as connection:
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        assert sign.wait(10), "the work did not begin"


@pytest.mark.parametrize(("path", "body"), ASKED)
def test_the_work_ends_when_a_client_that_has_got_nothing_yet_hangs_up(
    path: str,
    body: dict,
    library: Library,
    settings: Settings,
    engine: sa.Engine,
    endless: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drafts, begun = Answerer.stream, threading.Event()

    def stream(*arguments: object) -> Iterator[object]:
        begun.set()
        yield from drafts(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Answerer, "stream", stream)
    with served(settings) as url:
        for _ in range(6):  # more than may work at once
            begun.clear()
            endless.clear()
            leave_when(begun, url, path, body)
            assert endless.wait(5)
        monkeypatch.undo()
        answer = httpx.post(f"{url}{path}", json=body, headers={"authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200 and "Sunday" in answer.text

    assert asked(engine) == 1


@pytest.mark.parametrize(("path", "body"), ASKED)
def test_an_answer_that_is_made_after_its_client_hung_up_is_not_logged(
    path: str, body: dict, library: Library, settings: Settings, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = Answerer.stream, threading.Event()

    def late(*arguments: object) -> Iterator[object]:
        for item in real(*arguments):  # type: ignore[arg-type]
            if isinstance(item, Checked):
                made.set()
                wait_until_cancelled()
            yield item

    monkeypatch.setattr(Answerer, "stream", late)
    with served(settings) as url:
        leave_when(made, url, path, body)

    assert asked(engine) == 0


def wait_until_cancelled() -> None:
    """Until the service knows that the client has gone."""
    deadline = time.monotonic() + 5
    with suppress(asyncio.CancelledError):
        while time.monotonic() < deadline:
            anyio.from_thread.check_cancelled()
            time.sleep(0.01)


def test_filter_and_history_are_bounded_used_and_logged_as_they_were_sent(
    client: TestClient, engine: sa.Engine
) -> None:
    history = [{"role": "user", "text": "What is there to see?", "titles": []}]
    condition = {"topic": ["visits"], "segment": "museum"}
    answer = client.post("/ask", json={"question": QUESTION, "filter": condition, "history": history}).json()

    assert {source["document_id"] for source in answer["sources"]} == {"doc-museum"}
    logged = log.find(engine, uuid.UUID(answer["question_id"]))
    assert (logged.filter, logged.history) == (condition, history)


def deep(levels: int) -> dict:
    return {"not": deep(levels - 1)} if levels > 1 else {"topic": "x"}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"filter": deep(21)}, "filter"),
        ({"filter": {"topic": "x" * 10_001}}, "filter"),
        ({"filter": {"topic": "a\x00"}}, "filter"),
        ({"filter": {"topic": 3}}, "topic"),
        ({"filter": {}}, "filter"),
        ({"filter": []}, "filter"),
        ({"history": [{"role": "user", "text": "x"}] * 21}, "history"),
        ({"history": [{"role": "system", "text": "x"}]}, "role"),
        ({"history": [{"role": "user", "text": "x" * 4001}]}, "history"),
        ({"history": [{"role": "user", "text": "a\x00"}]}, "history"),
    ],
)
def test_a_filter_or_history_out_of_bounds_is_422_and_names_the_field(
    body: dict, named: str, client: TestClient, engine: sa.Engine
) -> None:
    answer = client.post("/ask", json={"question": QUESTION, **body})

    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_input")
    assert named in answer.json()["error"]["message"]
    assert asked(engine) == 0


@pytest.mark.parametrize("path", ["/ask", "/search", "/v1/chat/completions"])
@pytest.mark.parametrize("levels", [500, 900, 980, 10_000])
def test_a_filter_nested_however_deep_is_the_callers_mistake(path: str, levels: int, client: TestClient) -> None:
    asked = {"/ask": '"question": "x"', "/search": '"query": "x"'}
    rest = asked.get(path, '"model": "cuvee", "messages": [{"role": "user", "content": "x"}]')
    condition = '{"not": ' * levels + '{"topic": "x"}' + "}" * levels
    body = f'{{{rest}, "filter": {condition}}}'

    answer = client.post(path, content=body, headers={"content-type": "application/json"})

    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["type"] in ("invalid_input", "invalid_request_error")


def test_search_takes_the_same_filter(client: TestClient) -> None:
    found = client.post("/search", json={"query": "cellar", "top_k": 50, "filter": {"topic": "cellar"}}).json()

    assert {hit["uri"] for hit in found["hits"]} == {"gas.txt", "barrels.txt"}


def test_the_served_app_streams_while_it_works(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, release = Answerer.stream, threading.Event()

    def held(*arguments: object) -> Iterator[object]:
        for item in real(*arguments):  # type: ignore[arg-type]
            yield item
            assert release.wait(5)

    monkeypatch.setattr(Answerer, "stream", held)
    body = {"question": QUESTION, "stream": True}
    headers = {"authorization": f"Bearer {KEY}"}
    with served(settings) as url, httpx.stream("POST", f"{url}/ask", json=body, headers=headers) as response:
        lines = response.iter_lines()
        first = next(line for line in lines if line.startswith("event"))
        release.set()
        rest = [line for line in lines if line.startswith("event")]

    assert (first, rest[-1]) == ("event: sources", "event: answer")


def test_a_question_without_its_key_is_refused_before_any_stream(
    serve: Callable[..., TestClient], client: TestClient
) -> None:
    answer = client.post("/ask", json={"question": QUESTION, "stream": True}, headers={"authorization": ""})

    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "unauthorized")


def test_while_nothing_is_to_be_sent_comments_keep_the_connection_alive(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Answerer.stream

    def slow(*arguments: object) -> Iterator[object]:
        time.sleep(0.5)
        yield from real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Answerer, "stream", slow)
    monkeypatch.setattr("rag_service.api.events.PING_SECONDS", 0.1)
    body = {"question": QUESTION, "stream": True}
    headers = {"authorization": f"Bearer {KEY}"}
    with served(settings) as url, httpx.stream("POST", f"{url}/ask", json=body, headers=headers) as response:
        lines = list(response.iter_lines())

    assert lines[0].startswith(": ping")
    assert "event: answer" in lines
