"""Filters from JSON: what they mean, and what is said of one that is wrong."""

import datetime
from typing import Any

import pyarrow as pa
import pytest

from cuvee.errors import InvalidInputError
from rag_service.index import filters
from rag_service.index.filters import And, AnyOf, DateRange, Not, Or, parse

JANUARY = datetime.date(2026, 1, 31)


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        ({"topic": "cellar"}, AnyOf("topic", ("cellar",))),
        ({"topic": ["b", "a", "b"]}, AnyOf("topic", ("a", "b"))),
        ({"date": {"from": "2026-01-31"}}, DateRange(JANUARY, None)),
        ({"date": {"from": "2026-01-31", "to": "2026-01-31"}}, DateRange(JANUARY, JANUARY)),
        ({"metadata.vintage": "2021"}, AnyOf("metadata.vintage", ("2021",))),
        ({"topic": "a", "author": "b"}, And((AnyOf("topic", ("a",)), AnyOf("author", ("b",))))),
        (
            {"or": [{"source": "feed"}, {"not": {"document": "d"}}]},
            Or((AnyOf("source", ("feed",)), Not(AnyOf("document", ("d",))))),
        ),
        ({"and": [{"topic": "a"}]}, And((AnyOf("topic", ("a",)),))),
    ],
)
def test_json_becomes_a_condition(value: dict[str, Any], condition: filters.Condition) -> None:
    assert parse(value) == condition


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "at least one of topic, segment, source, author, document, date, metadata.<key>, and, or, not"),
        (["topic"], r"this is \['topic'\]"),
        ({"colour": "red"}, "There is no filter 'colour'"),
        ({"metadata.": "x"}, "There is no filter 'metadata.'"),
        ({"topic": 5}, "'topic' takes a text"),
        ({"topic": []}, "'topic' takes a text"),
        ({"topic": "x" * 501}, "at most 500 characters"),
        ({"topic": [str(n) for n in range(1001)]}, "at most 1000 values; these are 1001"),
        ({"and": []}, "'and' takes a list of at least one filter"),
        ({"or": {"topic": "a"}}, "'or' takes a list"),
        ({"not": []}, "A filter is an object"),
        ({"date": "2026-01-31"}, "'date' takes"),
        ({"date": {"since": "2026-01-31"}}, "'date' takes"),
        ({"date": {"from": "31.1.2026"}}, "A day is written like 2026-01-31; this is '31.1.2026'"),
        ({"date": {"from": 5}}, "A day is written like"),
        ({"date": {"from": "2026-02-01", "to": "2026-01-31"}}, "backwards"),
        ({"or": [{"topic": "a"}] * 101}, "100 conditions"),
    ],
)
def test_what_is_wrong_is_said(value: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        parse(value)


def test_a_filter_that_is_nested_too_deep_is_refused_before_it_costs_anything() -> None:
    value: dict[str, Any] = {"topic": "a"}
    for _ in range(500):
        value = {"not": value}

    with pytest.raises(InvalidInputError, match="nested 8 deep"):
        parse(value)


def test_a_row_without_the_field_matches_no_value_and_every_negation() -> None:
    columns = {
        "author": pa.chunked_array([["ann", None, "bob"]]),
        "date": pa.chunked_array([[JANUARY, None, None]], pa.date32()),
        "metadata": pa.chunked_array([[[("vintage", "2021")], None, []]], pa.map_(pa.string(), pa.string())),
    }

    def matching(value: dict[str, Any]) -> list[bool]:
        return filters.matching(parse(value), columns.__getitem__).tolist()

    assert matching({"author": ["ann", "bob"]}) == [True, False, True]
    assert matching({"not": {"author": "ann"}}) == [False, True, True]
    assert matching({"date": {"from": "2026-01-31", "to": "2026-01-31"}}) == [True, False, False]
    assert matching({"not": {"date": {"to": "2027-01-01"}}}) == [False, True, True]
    assert matching({"metadata.vintage": "2021"}) == [True, False, False]


def test_topic_and_segment_are_conditions_where_they_are_given() -> None:
    topic, segment = AnyOf("topic", ("a",)), AnyOf("segment", ("b",))

    assert filters.place(None, None) is None
    assert (filters.place("a", None), filters.place(None, "b")) == (topic, segment)
    assert filters.place("a", "b") == filters.both(topic, segment) == And((topic, segment))
    assert filters.both(None, topic) == filters.both(topic, None) == topic
