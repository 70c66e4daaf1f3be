"""Answers shown again as they were given, and what people say of them."""

import uuid

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from cuvee import keys
from cuvee.database import answer_feedback, index_generations
from cuvee.settings import Settings
from tests.integration.rag_service.live import shelve

pytestmark = pytest.mark.integration

QUESTION = "When does the cellar museum open?"
OTHER = {"authorization": "Bearer cuvee_other"}


@pytest.fixture
def answered(client: TestClient, engine: sa.Engine) -> dict:
    keys.ensure(engine, "other", "cuvee_other", ("rag",))
    return client.post("/ask", json={"question": QUESTION, "topic": "visits"}).json()


def rows(engine: sa.Engine) -> list[sa.Row]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(answer_feedback)).all())


def judge(client: TestClient, answered: dict, verdict: str, **more: object) -> int:
    body = {"question_id": answered["question_id"], "verdict": verdict, **more}
    return client.post("/feedback", json=body).status_code


def test_an_answer_is_replayed_as_it_was_given_also_when_a_newer_index_is_served(
    client: TestClient, engine: sa.Engine, answered: dict
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(index_generations).values(state="retired"))

    replayed = client.get(f"/questions/{answered['question_id']}").json()

    assert {name: replayed[name] for name in answered} == answered
    assert (replayed["question"], replayed["topic"], replayed["segment"]) == (QUESTION, "visits", None)
    assert (replayed["filter"], replayed["history"], replayed["feedback"]) == (None, [], None)
    assert replayed["asked_at"].startswith("20")


def test_a_refusal_is_replayed_with_the_passages_it_showed(client: TestClient) -> None:
    refused = client.post("/ask", json={"question": "Who won the football world cup in 1998?"}).json()

    replayed = client.get(f"/questions/{refused['question_id']}").json()

    assert refused["nearest"] and replayed["nearest"] == refused["nearest"]


def test_a_key_lists_its_own_questions_latest_first_with_its_verdicts(client: TestClient, answered: dict) -> None:
    judge(client, answered, "up")
    client.post("/ask", json={"question": "How is gas detected?"})
    client.post("/ask", json={"question": "Somebody else asks"}, headers=OTHER)

    listed = client.get("/questions").json()["questions"]

    assert [(one["question"], one["verdict"]) for one in listed] == [("How is gas detected?", None), (QUESTION, "up")]
    assert len(client.get("/questions", params={"limit": 1}).json()["questions"]) == 1


def test_the_latest_verdict_of_a_key_replaces_its_former_one_and_no_other(
    client: TestClient, engine: sa.Engine, answered: dict
) -> None:
    assert judge(client, answered, "up", comment="good") == 201
    client.post("/feedback", json={"question_id": answered["question_id"], "verdict": "up"}, headers=OTHER)
    assert judge(client, answered, "down", comment="no, wrong year") == 201

    assert sorted((row.verdict, row.comment) for row in rows(engine)) == [("down", "no, wrong year"), ("up", None)]
    assert client.get(f"/questions/{answered['question_id']}").json()["feedback"]["verdict"] == "down"


def test_a_verdict_may_name_the_document_that_has_the_answer(
    client: TestClient, engine: sa.Engine, settings: Settings, answered: dict
) -> None:
    shelve(engine, settings)

    assert judge(client, answered, "down", correct_document_id="doc-gas") == 201
    assert [row.correct_document_id for row in rows(engine)] == ["doc-gas"]


def test_verdicts_on_unknown_questions_and_documents_are_404_and_say_which(
    client: TestClient, engine: sa.Engine, answered: dict
) -> None:
    nowhere = str(uuid.uuid4())
    unknown = client.post("/feedback", json={"question_id": nowhere, "verdict": "up"})
    body = {"question_id": answered["question_id"], "verdict": "down", "correct_document_id": "doc-lost"}
    lost = client.post("/feedback", json=body)

    assert [answer.status_code for answer in (unknown, lost, client.get(f"/questions/{nowhere}"))] == [404] * 3
    assert unknown.json()["error"]["message"] == f"There is no question {nowhere}."
    assert lost.json()["error"]["message"] == "There is no document doc-lost."
    assert rows(engine) == []


@pytest.mark.parametrize(
    "change", [{"verdict": "maybe"}, {"comment": "x" * 2001}, {"comment": "a\x00"}, {"question_id": "7"}, {"stars": 5}]
)
def test_a_verdict_out_of_bounds_is_422(change: dict, client: TestClient, answered: dict, engine: sa.Engine) -> None:
    body = {"question_id": answered["question_id"], "verdict": "up", **change}

    assert client.post("/feedback", json=body).status_code == 422
    assert rows(engine) == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/questions"), ("GET", f"/questions/{uuid.UUID(int=7)}"), ("POST", "/feedback")]
)
def test_every_route_asks_for_a_key_with_the_scope_rag(method: str, path: str, client: TestClient) -> None:
    for authorization, status in (("", 401), ("Bearer cuvee_wine-only", 403)):
        assert client.request(method, path, headers={"authorization": authorization}).status_code == status
