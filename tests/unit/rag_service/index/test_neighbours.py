"""Passages that touch become one, with the pages of both."""

from dataclasses import replace
from itertools import permutations

import pytest

from rag_service.index.neighbours import merged
from rag_service.index.rows import Chunk
from tests.hits import made_hit

TEXT = "One two. Three four. Five six. Seven eight."


def passage(start: int, end: int, page: int | None, breaks: tuple[int, ...] = ()) -> Chunk:
    place = (page, start, end, TEXT[start:end])
    return Chunk(f"c{start}", "d", "t", "s", "Title", "u", start, *place, page_breaks=breaks)


@pytest.mark.parametrize("better", [0, 1])
def test_joined_passages_know_where_the_pages_of_both_begin(better: int) -> None:
    # Page 2 begins with "Three", page 3 with "Five" and page 4 with "Seven".
    first, second = passage(0, 30, 1, (9, 21)), passage(9, 43, 2, (12, 22))
    hits = [made_hit(first, 0.9), made_hit(second, 0.5)]

    (whole,) = merged([hits[better], hits[1 - better]])

    assert (whole.chunk.text, whole.chunk.page, whole.chunk.page_breaks) == (TEXT, 1, (9, 21, 31))
    assert [whole.chunk.page_at(at) for at in (0, 8, 9, 20, 21, 30, 31, 42)] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_of_passages_whose_further_pages_are_not_known_the_pages_they_start_on_are() -> None:
    hits = [made_hit(passage(0, 30, 1), 0.9), made_hit(passage(21, 43, 4), 0.5)]

    (whole,) = merged(hits)

    assert [whole.chunk.page_at(at) for at in (0, 20, 21, 42)] == [1, 1, 4, 4]


def test_what_has_no_pages_has_none_joined() -> None:
    (whole,) = merged([made_hit(passage(0, 30, None), 0.9), made_hit(passage(21, 43, None), 0.5)])

    assert (whole.chunk.page, whole.chunk.page_breaks, whole.chunk.page_at(30)) == (None, (), None)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_passages_that_only_a_third_one_joins_become_one_ranked_as_the_best_of_them(order: tuple[int, ...]) -> None:
    spans = [(0, 20), (26, 43), (18, 27)]
    elsewhere = replace(passage(0, 8, None), document_id="other")
    scores = iter((0.9, 0.7, 0.6))
    hits = [made_hit(passage(*spans[n], None), next(scores)) for n in order]

    whole, other = merged([*hits[:1], made_hit(elsewhere, 0.8), *hits[1:]])

    assert (whole.chunk.start_char, whole.chunk.end_char, whole.chunk.text, whole.score) == (0, 43, TEXT, 0.9)
    assert other.chunk.document_id == "other"
