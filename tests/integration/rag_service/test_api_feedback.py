"""Answers shown again as they were given, and what people say of them."""

import datetime
import json
import uuid

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from cuvee import keys
from cuvee.database import answer_feedback, index_generations, questions
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.answers.answerer import Answer, Sentence, Source, Versions
from rag_service.feedback import forgetting, log
from tests.integration.rag_service.live import set_document, shelve

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


# What was deleted since


def long_ago(engine: sa.Engine, document_id: str, state: str) -> None:
    """The document came to this state before the soak, and the published generation holds it no more."""
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=30)
    set_document(engine, document_id, state=state, in_index=False, updated_at=then)


def stored(engine: sa.Engine) -> list[str]:
    """Every question of the log, whole."""
    with engine.connect() as connection:
        found = connection.execute(sa.select(questions).order_by(questions.c.asked_at)).mappings().all()
    return [json.dumps(dict(row), default=str) for row in found]


def test_from_its_deletion_on_nothing_that_a_document_said_is_replayed(
    client: TestClient, engine: sa.Engine, settings: Settings, answered: dict
) -> None:
    shelve(engine, settings)
    said = [{"role": "user", "text": QUESTION}, {"role": "assistant", "text": answered["answer"]}]
    follow_up = client.post("/ask", json={"question": QUESTION, "history": said}).json()
    refused = client.post("/ask", json={"question": "Who won the football world cup in 1998?"}).json()
    assert "Sunday" in answered["answer"] and "doc-museum" in [source["document_id"] for source in refused["nearest"]]

    client.delete("/documents/doc-museum")
    replays = [client.get(f"/questions/{one['question_id']}") for one in (answered, follow_up, refused)]

    assert [replay.status_code for replay in replays] == [200] * 3
    assert not [replay for replay in replays if "Sunday" in replay.text or "press" in replay.text]
    shown = replays[0].json()
    assert shown["answer"] == f"{forgetting.REMOVED} [1]"
    assert [one["text"] for one in shown["sentences"]] == [forgetting.REMOVED]
    (source,) = shown["sources"]
    assert source == answered["sources"][0] | {"text": "", "quotes": [], "deleted": True}
    assert source["title"] == "The cellar museum"
    assert [turn["text"] for turn in replays[1].json()["history"]] == [QUESTION, forgetting.REMOVED]
    for before, after in zip(refused["nearest"], replays[2].json()["nearest"], strict=True):
        assert after["deleted"] == (after["document_id"] == "doc-museum")
        assert after["deleted"] or after == before
    assert replays[2].json()["answer"] == refused["answer"]
    assert judge(client, answered, "up") == 201


def test_what_another_document_says_too_is_replayed(
    client: TestClient, engine: sa.Engine, settings: Settings, key_id: int
) -> None:
    shelve(engine, settings)
    sources = [
        Source(n, f"doc-{name}", name, "", None, 0, 5, f"text of {name}", 0.5)
        for n, name in enumerate(("museum", "gas"), 1)
    ]
    said = (Sentence("Both.", (1, 2)), Sentence("Museum.", (1,)), Sentence("Gas.", (2,)))
    answer = Answer("Both. [1][2] Museum. [1] Gas. [2]", False, said, tuple(sources), (), "", Versions(1, "e", "m"), {})
    history = (
        {"role": "assistant", "text": "Old news.", "titles": ["The cellar museum"]},
        {"role": "assistant", "text": "New news.", "titles": ["Gas in the cellar"]},
    )
    question_id = log.record(engine, key_id, log.Posed("What?", history=history), answer)
    client.delete("/documents/doc-museum")

    shown = client.get(f"/questions/{question_id}").json()

    assert shown["answer"] == f"Both. [1][2] {forgetting.REMOVED} [1] Gas. [2]"
    assert [(one["text"], one["deleted"]) for one in shown["sources"]] == [("", True), ("text of gas", False)]
    assert [turn["text"] for turn in shown["history"]] == [forgetting.REMOVED, "New news."]


def test_an_earlier_answer_without_titles_is_known_by_its_words_and_goes_with_what_it_rests_on(
    client: TestClient, engine: sa.Engine, settings: Settings, answered: dict
) -> None:
    shelve(engine, settings)
    without_marks = " ".join(sentence["text"] for sentence in answered["sentences"])
    texts = [answered["answer"], without_marks, "Come on a Sunday in June."]
    history = [{"role": "user", "text": QUESTION}, *({"role": "assistant", "text": text} for text in texts)]
    asked = {"question": "How is gas detected?", "topic": "cellar", "history": history}
    follow_up = client.post("/ask", json=asked).json()
    left = [QUESTION, forgetting.REMOVED, forgetting.REMOVED, texts[2]]

    def replayed(question: dict) -> list[str]:
        return [turn["text"] for turn in client.get(f"/questions/{question['question_id']}").json()["history"]]

    assert "doc-museum" not in [source["document_id"] for source in follow_up["sources"]]
    assert replayed(follow_up) == [QUESTION, *texts]
    set_document(engine, "doc-museum", state="deleted", in_index=False)
    assert replayed(follow_up) == left
    long_ago(engine, "doc-museum", "deleted")
    assert pipeline.reclaim_objects(settings)["questions"] == 2
    assert not [row for row in stored(engine) if "first Sunday" in row]
    # The conversation may go on after the words were removed.
    later = client.post("/ask", json=asked).json()
    assert replayed(later) == left
    assert [pipeline.reclaim_objects(settings)["questions"] for _ in range(2)] == [1, 0]
    assert not [row for row in stored(engine) if "first Sunday" in row]


@pytest.mark.parametrize("state", ["deleted", "superseded"])
def test_after_the_soak_housekeeping_takes_what_a_document_said_out_of_the_log(
    state: str, client: TestClient, engine: sa.Engine, settings: Settings, answered: dict
) -> None:
    shelve(engine, settings)
    titles = [source["title"] for source in answered["sources"]]
    said = [{"role": "assistant", "text": answered["answer"], "titles": titles}]
    client.post("/ask", json={"question": "How is gas detected?", "topic": "cellar", "history": said})
    judge(client, answered, "up", comment="good")
    before = stored(engine)
    assert "Sunday" in before[0] and "Sunday" in before[1]
    set_document(engine, "doc-museum", state=state, in_index=False)

    assert pipeline.reclaim_objects(settings) == {"objects": 0, "documents": 0, "questions": 0}
    assert stored(engine) == before
    long_ago(engine, "doc-museum", state)
    first, second = pipeline.reclaim_objects(settings), pipeline.reclaim_objects(settings)

    assert (first["documents"], first["questions"]) == (1, 2)
    assert (second["documents"], second["questions"]) == (0, 0)
    after = stored(engine)
    assert not [row for row in after if "Sunday" in row or "iron press" in row]
    assert "The cellar museum" in after[0] and "Seven fixed detectors" in after[1]
    assert client.get(f"/questions/{answered['question_id']}").json()["feedback"]["comment"] == "good"


def test_a_replaced_document_is_replayed_until_its_text_is_removed(
    client: TestClient, engine: sa.Engine, settings: Settings, answered: dict
) -> None:
    shelve(engine, settings)
    set_document(engine, "doc-museum", state="superseded")
    path = f"/questions/{answered['question_id']}"

    assert client.get(path).json()["answer"] == answered["answer"]
    set_document(engine, "doc-museum", reclaimed_at=sa.func.now())
    assert client.get(path).json()["answer"] == f"{forgetting.REMOVED} [1]"


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
