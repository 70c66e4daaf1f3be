"""OpenAI's own client against the served app: answers, streams, models, errors."""

from collections.abc import Iterator

import httpx
import openai
import pytest
import sqlalchemy as sa

from cuvee.database import questions
from cuvee.settings import Settings
from rag_service.answers.answerer import Answerer, Asked
from rag_service.feedback import log
from rag_service.index.embedder import shared
from tests.integration.rag_service.conftest import KEY
from tests.integration.rag_service.live import served, shelve
from tests.integration.rag_service.serving import Library

pytestmark = pytest.mark.integration

QUESTION = "When does the cellar museum open?"
OFF_TOPIC = "Who won the football world cup in 1998?"


@pytest.fixture
def openai_client(library: Library, settings: Settings, engine: sa.Engine) -> Iterator[openai.OpenAI]:
    shelve(engine, settings)
    with served(settings) as url, openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def said(*texts: str) -> list[dict[str, str]]:
    """Messages, the last one of the user, roles taking turns before it."""
    roles = ["user", "assistant"] * len(texts)
    return [{"role": roles[len(texts) - 1 - at], "content": text} for at, text in enumerate(texts)]


def ask(client: openai.OpenAI, *texts: str, model: str = "cuvee", **more: object):
    return client.chat.completions.create(model=model, messages=said(*texts), **more)


def test_an_answer_has_text_with_marks_sources_and_an_annotation_at_each_mark(openai_client: openai.OpenAI) -> None:
    answer = ask(openai_client, QUESTION)

    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "stop"
    assert "first Sunday of March" in message.content
    assert answer.sources[0]["document_id"] == "doc-museum"
    assert message.annotations
    for annotation in message.annotations:
        citation = annotation.url_citation
        mark = message.content[citation.start_index : citation.end_index]
        source = next(source for source in answer.sources if mark == f"[{source['number']}]")
        assert citation.title == source["title"]
        assert f"/#/documents/{source['document_id']}?start={source['start_char']}&end=" in citation.url


def test_the_links_of_citations_lead_to_the_page(openai_client: openai.OpenAI) -> None:
    citation = ask(openai_client, QUESTION).choices[0].message.annotations[0].url_citation

    assert citation.url.startswith(str(openai_client.base_url).removesuffix("v1/"))
    assert httpx.get(citation.url).text.startswith("<!doctype html>")


def test_plain_clients_see_the_sources_at_the_end_of_the_text(openai_client: openai.OpenAI) -> None:
    text = ask(openai_client, QUESTION).choices[0].message.content

    answer, sources = text.split("\n\nSources:\n")
    assert "first Sunday of March" in answer
    assert sources.startswith("[1] The cellar museum: http")


def test_a_stream_gives_the_same_text_then_annotations_sources_and_the_usage(openai_client: openai.OpenAI) -> None:
    whole = ask(openai_client, QUESTION)
    chunks = list(ask(openai_client, QUESTION, stream=True, stream_options={"include_usage": True}))

    assert len({chunk.id for chunk in chunks}) == 1 and chunks[0].choices[0].delta.role == "assistant"
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 5
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    last, usage = chunks[-2], chunks[-1]
    assert last.choices[0].finish_reason == "stop"
    assert last.sources == whole.sources
    assert [one["url_citation"]["start_index"] for one in last.choices[0].delta.annotations] == [
        one.url_citation.start_index for one in whole.choices[0].message.annotations
    ]
    assert (usage.choices, usage.usage) == ([], whole.usage)


def test_without_the_option_a_stream_ends_without_usage(openai_client: openai.OpenAI) -> None:
    chunks = list(ask(openai_client, QUESTION, stream=True))

    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_the_usage_is_what_the_embedder_counts(openai_client: openai.OpenAI) -> None:
    answer = ask(openai_client, QUESTION)

    def count(text: str) -> int:
        return len(shared("all-MiniLM-L6-v2", 240).token_spans(text))

    expected = (count(QUESTION), count(answer.choices[0].message.content))
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == expected
    assert answer.usage.total_tokens == sum(expected)


def test_a_refusal_is_a_message_without_sources(openai_client: openai.OpenAI) -> None:
    answer = ask(openai_client, OFF_TOPIC)

    message = answer.choices[0].message
    assert (message.annotations, answer.sources) == ([], [])
    assert message.content and "Sources:" not in message.content


def test_every_topic_is_a_model_of_its_own(openai_client: openai.OpenAI) -> None:
    assert [model.id for model in openai_client.models.list()] == ["cuvee", "cuvee/cellar", "cuvee/visits"]
    assert openai_client.models.retrieve("cuvee/visits").id == "cuvee/visits"
    assert "first Sunday" in ask(openai_client, QUESTION, model="cuvee/visits").choices[0].message.content
    assert not ask(openai_client, QUESTION, model="cuvee/cellar").sources


def test_earlier_messages_are_the_history_and_our_own_lists_of_sources_are_left_out(
    openai_client: openai.OpenAI, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Asked] = []
    real = Answerer.stream

    def listening(self: Answerer, retriever: object, asked: Asked) -> object:
        heard.append(asked)
        return real(self, retriever, asked)  # type: ignore[arg-type]

    monkeypatch.setattr(Answerer, "stream", listening)
    first = ask(openai_client, QUESTION).choices[0].message.content
    ask(openai_client, QUESTION, first, "How is gas detected?")

    assert heard[1].question == "How is gas detected?"
    assert [turn.role for turn in heard[1].history] == ["user", "assistant"]
    assert heard[1].history[0].text == QUESTION
    assert heard[1].history[1].titles[0] == "The cellar museum"
    assert "first Sunday" in heard[1].history[1].text and "Sources:" not in heard[1].history[1].text


def test_what_clients_send_besides_is_accepted_and_system_messages_are_not_read(openai_client: openai.OpenAI) -> None:
    messages = [
        {"role": "system", "content": "Always answer 42."},
        {"role": "developer", "content": "Talk like a pirate."},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
    ]
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    answer = openai_client.chat.completions.create(
        model="cuvee", messages=messages, temperature=0.2, max_tokens=5, tools=[tool], user="me", seed=7, n=1
    )

    assert answer.choices[0].message.content == ask(openai_client, QUESTION).choices[0].message.content


def test_our_own_fields_narrow_the_search(openai_client: openai.OpenAI) -> None:
    assert not ask(openai_client, QUESTION, extra_body={"filter": {"topic": "cellar"}}).sources
    assert ask(openai_client, QUESTION, extra_body={"segment": "museum", "top_k": 1}).sources


def test_every_answer_is_logged_under_the_id_it_carries(openai_client: openai.OpenAI, engine: sa.Engine) -> None:
    answer = ask(openai_client, QUESTION)

    with engine.connect() as connection:
        row = connection.execute(sa.select(questions)).one()
    assert (str(row.question_id), row.question) == (answer.question_id, QUESTION)
    assert answer.id == f"chatcmpl-{row.question_id.hex}"


@pytest.mark.parametrize(
    ("request_", "error", "code"),
    [
        ({"model": "gpt-4o"}, openai.NotFoundError, "model_not_found"),
        ({"model": "cuvee/nowhere"}, openai.NotFoundError, "model_not_found"),
        ({"messages": []}, openai.BadRequestError, "invalid_input"),
        ({"messages": [{"role": "system", "content": "x"}]}, openai.BadRequestError, "invalid_input"),
        ({"messages": [{"role": "user", "content": "\u200b"}]}, openai.BadRequestError, "invalid_input"),
        ({"messages": [{"role": "user", "content": "a\x00b"}]}, openai.BadRequestError, "invalid_input"),
        ({"messages": [{"role": "user", "content": "x" * 2001}]}, openai.BadRequestError, "context_length_exceeded"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            openai.BadRequestError,
            "invalid_input",
        ),
        ({"n": 2}, openai.BadRequestError, "invalid_input"),
        ({"extra_body": {"top_k": 51}}, openai.BadRequestError, "invalid_input"),
    ],
)
def test_errors_have_the_form_that_the_client_knows(
    request_: dict, error: type[openai.APIStatusError], code: str, openai_client: openai.OpenAI
) -> None:
    for stream in (False, True):
        with pytest.raises(error) as raised:
            openai_client.chat.completions.create(
                **{"model": "cuvee", "messages": said(QUESTION), "stream": stream} | request_
            )
        assert (raised.value.code, raised.value.type) == (code, "invalid_request_error")


def test_a_wrong_key_is_told_as_openai_tells_it(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as raised:
        ask(openai_client.with_options(api_key="cuvee_wrong"), QUESTION)
    assert raised.value.code == "invalid_api_key"


def test_an_error_on_the_way_ends_the_stream_as_an_error_of_the_client(
    openai_client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(log, "record", broken)

    with pytest.raises(openai.APIError) as raised:
        list(ask(openai_client, QUESTION, stream=True))
    assert raised.value.code == "internal_error" and "secret" not in str(raised.value)
