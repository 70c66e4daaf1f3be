"""Chunks: their size, their overlap, that they are quotations, and that nothing is left out."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_service.documents import chunking
from rag_service.documents.chunking import ChunkingRule, chunk
from rag_service.documents.cleaning import CleanText
from rag_service.index.embedder import BUNDLED, shared

RULE = ChunkingRule(tokens=10, overlap_tokens=4)


def words(text: str) -> list[tuple[int, int]]:
    """One token per word or mark."""
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def texts(text: str, rule: ChunkingRule = RULE) -> list[str]:
    return [passage.text for passage in chunk(CleanText(text, ()), words, rule)]


def test_whole_sentences_fill_a_chunk_and_the_last_ones_come_again_in_the_next() -> None:
    assert texts("One two three four. Five six. Seven eight. Nine ten eleven. Twelve.") == [
        "One two three four. Five six.",
        "Five six. Seven eight. Nine ten eleven.",
        "Nine ten eleven. Twelve.",
    ]


def test_a_sentence_that_is_longer_than_a_chunk_is_cut_between_tokens() -> None:
    text = " ".join(f"w{n}" for n in range(25))

    assert texts(text) == [
        " ".join(f"w{n}" for n in range(10)),
        " ".join(f"w{n}" for n in range(10, 20)),
        " ".join(f"w{n}" for n in range(20, 25)),
    ]


def test_a_heading_goes_with_the_text_after_it() -> None:
    text = "Red wine rests for a year in oak.\n\nBottling\n\nFill the bottles slowly."

    assert texts(text) == ["Red wine rests for a year in oak.", "Bottling\n\nFill the bottles slowly."]


def test_a_heading_is_not_left_behind_at_the_end_of_a_short_chunk() -> None:
    assert texts("Red wine.\n\nBottling\n\nFill the bottles slowly and well.") == [
        "Red wine.",
        "Bottling\n\nFill the bottles slowly and well.",
    ]


def test_a_heading_opens_a_chunk_when_the_one_before_is_half_full() -> None:
    assert texts("Rinse the tank with water.\n\nDrying\n\nWipe it.") == [
        "Rinse the tank with water.",
        "Drying\n\nWipe it.",
    ]


def test_a_run_of_letters_that_the_tokenizer_takes_for_one_token_is_cut_all_the_same() -> None:
    assert [len(text) for text in texts("x" * 1500)] == [640, 640, 220]


def test_the_tokenizer_never_gets_a_long_text_at_once_and_the_chunks_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = " ".join(f"Word{n} and more." for n in range(200)) + " " + "x" * 300
    at_once = texts(text)
    monkeypatch.setattr(chunking, "_TOKENIZED_CHARS", 100)
    given: list[str] = []

    def spy(piece: str) -> list[tuple[int, int]]:
        given.append(piece)
        return words(piece)

    cut = [passage.text for passage in chunk(CleanText(text, ()), spy, RULE)]

    assert max(map(len, given)) <= 100
    assert "".join(given) == text
    assert cut[: len(at_once) - 1] == at_once[:-1]
    assert "".join(cut).count("x") >= 300


def test_a_chunk_has_the_page_on_which_it_starts() -> None:
    text = "One two three four five six. Seven eight nine ten eleven. Twelve."
    document = CleanText(text, (0, 29))

    assert [(p.ordinal, p.page, p.start_char, p.end_char) for p in chunk(document, words, ChunkingRule(8, 0))] == [
        (0, 1, 0, 28),
        (1, 2, 29, 65),
    ]


def test_a_chunk_knows_where_in_its_text_further_pages_begin() -> None:
    text = "One two three. Four five six. Seven eight. Nine."
    # The third page is empty, and the last one begins with a chunk.
    document = CleanText(text, (0, 15, 30, 30, 43))

    passages = chunk(document, words, ChunkingRule(12, 0))

    assert [(p.page, p.page_breaks, p.text) for p in passages] == [
        (1, (15, 30, 30), "One two three. Four five six. Seven eight."),
        (5, (), "Nine."),
    ]
    assert chunk(CleanText(text, ()), words, ChunkingRule(12, 0))[0].page_breaks == ()


def test_text_of_white_space_has_no_chunks() -> None:
    assert texts(" \n ") == []


PARTS = ["Tank", "the", "wine. ", "rests, ", "4.5 ", "Oak? ", "\n\nHeading\n\n", "x" * 90, "a | b\n", "é", "。", " "]
PROSE = st.lists(st.sampled_from(PARTS), max_size=60).map(" ".join)


@given(PROSE, st.integers(4, 30), st.integers(0, 12))
def test_chunks_are_quotations_within_the_limit_that_cover_the_text_in_order(
    text: str, most: int, overlap: int
) -> None:
    passages = chunk(CleanText(text, ()), words, ChunkingRule(most, overlap))

    covered = set()
    for passage in passages:
        assert passage.text == text[passage.start_char : passage.end_char]
        assert passage.text == passage.text.strip()
        assert sum(-(-(end - start) // 64) for start, end in words(passage.text)) <= most
        covered.update(range(passage.start_char, passage.end_char))
    assert {at for at, character in enumerate(text) if not character.isspace()} <= covered
    assert [p.ordinal for p in passages] == list(range(len(passages)))
    for before, after in pairwise(passages):
        assert before.start_char < after.start_char and before.end_char < after.end_char


@given(PROSE, st.integers(4, 30), st.integers(0, 12), st.lists(st.integers(0, 200), max_size=6))
def test_every_character_of_a_chunk_is_on_the_page_that_it_is_on_in_the_document(
    text: str, most: int, overlap: int, starts: list[int]
) -> None:
    document = CleanText(text, (0, *sorted(starts)))

    for passage in chunk(document, words, ChunkingRule(most, overlap)):
        assert passage.page is not None
        for at in range(len(passage.text)):
            turned = sum(start <= at for start in passage.page_breaks)
            assert passage.page + turned == document.page_at(passage.start_char + at)


WORDS = ["Malolactic", "fermentation,", "18.5", "°C:", "Brettanomyces!", "Rosé?", "(SO₂)", "naïve", "🍷", "wine", "ﬁne"]


@pytest.mark.parametrize("tokens", [200, 240])
@settings(max_examples=8, deadline=None)
@given(text=st.lists(st.sampled_from(WORDS), min_size=150, max_size=250).map(" ".join))
def test_with_the_real_tokenizer_no_chunk_has_more_tokens_than_the_rule_allows(tokens: int, text: str) -> None:
    spans = shared(BUNDLED, 240).token_spans

    passages = chunk(CleanText(text, ()), spans, ChunkingRule(tokens, 40))

    assert max(len(spans(passage.text)) for passage in passages) <= tokens
    assert len(passages) > 1
