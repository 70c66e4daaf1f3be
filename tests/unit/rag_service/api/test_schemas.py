"""Bounds of what comes in."""

import pytest
from pydantic import ValidationError

from rag_service.api.schemas import AskRequest, SearchRequest


def test_a_question_alone_is_enough_and_eight_passages_are_the_default() -> None:
    asked = AskRequest.model_validate({"question": "When?"})

    assert (asked.topic, asked.segment, asked.top_k) == (None, None, 8)


@pytest.mark.parametrize("length", [1, 2000])
def test_a_question_may_have_up_to_2000_characters(length: int) -> None:
    assert AskRequest(question="x" * length).question == "x" * length


@pytest.mark.parametrize("question", ["", " ", "\n\u00a0\t", "x" * 2001, "a\x00b"])
def test_a_blank_overlong_or_unstorable_question_is_refused(question: str) -> None:
    for made in (lambda: AskRequest(question=question), lambda: SearchRequest(query=question)):
        with pytest.raises(ValidationError):
            made()


@pytest.mark.parametrize(("top_k", "valid"), [(0, False), (1, True), (50, True), (51, False), (2.5, False)])
def test_top_k_is_a_whole_number_from_1_to_50(top_k: float, valid: bool) -> None:
    body = {"query": "gas", "top_k": top_k}
    if valid:
        assert SearchRequest.model_validate(body).top_k == top_k
    else:
        with pytest.raises(ValidationError, match="top_k"):
            SearchRequest.model_validate(body)


def test_a_place_has_at_most_200_characters_and_is_not_empty() -> None:
    assert AskRequest(question="x", topic="t" * 200).topic == "t" * 200
    for topic in ("", "t" * 201):
        with pytest.raises(ValidationError, match="topic"):
            AskRequest(question="x", topic=topic)


def test_unknown_fields_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="topk"):
        AskRequest.model_validate({"question": "x", "topk": 3})


def nested(levels: int) -> dict:
    return {"not": nested(levels - 1)} if levels > 1 else {"topic": "x"}


@pytest.mark.parametrize(
    ("condition", "valid"),
    [
        (nested(20), True),
        (nested(21), False),
        (nested(900), False),
        ({"not": [[[]] * 3] * 3}, True),
        ({"any": [{"topic": "x"}, nested(20)]}, False),
        ({"topic": "x" * 9_900}, True),
        ({"topic": "x" * 10_000}, False),
        ({"topic": "a\x00"}, False),
        ({"a\x00": "x"}, False),
        ({"topic": "\ud800"}, False),
        ({"topic": "\U0001f377"}, True),
    ],
)
def test_a_filter_is_bounded_and_can_be_stored(condition: dict, valid: bool) -> None:
    body = {"question": "x", "filter": condition}
    if valid:
        assert AskRequest.model_validate(body).filter == condition
    else:
        with pytest.raises(ValidationError, match="filter"):
            AskRequest.model_validate(body)
