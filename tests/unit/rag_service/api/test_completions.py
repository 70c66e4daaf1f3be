"""Between OpenAI's messages and our questions, and back."""

import uuid

import pytest

from cuvee.errors import InvalidInputError, TooLargeError
from rag_service.api.completions import Reply, ask_request
from rag_service.api.openai_schemas import ChatRequest
from rag_service.api.schemas import AskRequest, AskResponse, QuoteOut, SentenceOut, SourceOut, VersionsOut


def request(*messages: tuple[str, str | None], topic: str | None = None, **more: object) -> AskRequest:
    said = [{"role": role, "content": content} for role, content in messages]
    return ask_request(ChatRequest.model_validate({"model": "cuvee", "messages": said, **more}), topic)


def source(number: int, title: str = "Gas", page: int | None = None) -> SourceOut:
    return SourceOut(
        number=number,
        document_id=f"d/{number}",
        title=title,
        uri="gas.pdf",
        page=page,
        start_char=10,
        end_char=90,
        text="…",
        score=0.5,
    )


def reply(text: str, sentences: list[tuple[str, list[int]]], *sources: SourceOut) -> Reply:
    answer = AskResponse(
        question_id=uuid.UUID(int=7),
        answer=text,
        refused=not sentences,
        sentences=[SentenceOut(text=said, citations=numbers) for said, numbers in sentences],
        sources=list(sources),
        nearest=[],
        versions=VersionsOut(generation=1, embedder="e", answer_model="m", draft="kept"),
        timings_ms={},
    )
    return Reply(answer, "cuvee", 0, "http://page", "how many words here", lambda text: len(text.split()))


def test_the_last_user_message_is_the_question_and_what_stands_before_it_the_history() -> None:
    asked = request(
        ("system", "Be brief."),
        ("user", "Where?"),
        (
            "assistant",
            "There. [1]\n\nSources:\n[1] The yard, page 3: http://page/#/documents/d\n[2] A: b: https://page",
        ),
        ("tool", "42"),
        ("user", " When? "),
        ("assistant", None),
        topic="cellar",
        segment="yard",
        top_k=3,
    )

    assert (asked.question, asked.topic, asked.segment, asked.top_k) == ("When?", "cellar", "yard", 3)
    assert [(turn.role, turn.text, turn.titles) for turn in asked.history] == [
        ("user", "Where?", []),
        ("assistant", "There. [1]", ["The yard", "A: b"]),
    ]


def test_old_and_long_messages_are_left_out_and_cut_instead_of_refused() -> None:
    asked = request(*[("user", f"{number} " + "x" * 5000) for number in range(30)], ("user", "Now?"))

    assert len(asked.history) == 20
    assert asked.history[0].text.startswith("10 ") and len(asked.history[0].text) == 4000


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([("system", "x")], InvalidInputError),
        ([("assistant", "x")], InvalidInputError),
        ([("user", "  ")], InvalidInputError),
        ([("user", "a\x00")], InvalidInputError),
        ([("user", "x" * 2001)], TooLargeError),
    ],
)
def test_without_a_question_that_can_be_asked_there_is_no_request(
    messages: list[tuple[str, str]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        request(*messages)


def test_annotations_stand_at_the_marks_and_not_at_brackets_inside_a_sentence() -> None:
    text = "See table [1] below. [2] It closes. [1][2]"
    made = reply(text, [("See table [1] below.", [2]), ("It closes.", [1, 2])], source(1), source(2, "Yard", 4))

    citations = [annotation.url_citation for annotation in made.annotations()]

    assert [(c.start_index, text[c.start_index : c.end_index], c.title) for c in citations] == [
        (21, "[2]", "Yard, page 4"),
        (36, "[1]", "Gas"),
        (39, "[2]", "Yard, page 4"),
    ]
    assert citations[0].url == "http://page/#/documents/d%2F2?start=10&end=90&page=4"


def test_a_mark_leads_to_the_page_of_its_own_quote_and_the_list_to_that_of_the_first() -> None:
    quotes = [QuoteOut(text="…", start_char=at, end_char=at + 9, page=page) for at, page in ((10, 4), (60, 5))]
    cited = source(1, "Yard", 4).model_copy(update={"quotes": quotes})
    made = reply("It opens. [1] It closes. [1]", [("It opens.", [1]), ("It closes.", [1])], cited)
    for sentence, quote in zip(made.answer.sentences, (0, 1), strict=True):
        sentence.quotes = [quote]

    citations = [annotation.url_citation for annotation in made.annotations()]

    assert [(c.title, c.url[-7:]) for c in citations] == [("Yard, page 4", "&page=4"), ("Yard, page 5", "&page=5")]
    assert made.content.endswith("[1] Yard, page 4: http://page/#/documents/d%2F1?start=10&end=90&page=4")


def test_an_answer_logged_before_quotes_had_pages_is_read() -> None:
    quote = {"text": "…", "start_char": 10, "end_char": 19}

    sentence = SentenceOut.model_validate({"text": "It opens.", "citations": [1]}, from_attributes=True)
    old = SourceOut.model_validate(source(1, page=4).model_dump() | {"quotes": [quote]}, from_attributes=True)

    assert (sentence.quotes, old.page, old.quotes[0].page) == ([], 4, None)


def test_a_stream_says_word_by_word_what_the_whole_says() -> None:
    made = reply("It  closes.\nOften. [1]", [("It  closes.\nOften.", [1])], source(1))
    whole = made.whole()

    *words, last, usage = made.pieces(with_usage=True)

    assert "".join(chunk.choices[0].delta["content"] for chunk in words) == whole.choices[0].message.content
    assert (last.choices[0].finish_reason, last.sources) == ("stop", whole.sources)
    assert (usage.usage, whole.usage.prompt_tokens) == (whole.usage, 4)
