"""Cleaning: what is repaired, what is dropped, what must survive, and where pages begin."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag_service.documents.cleaning import clean, clean_query


def cleaned(*pages: str, paged: bool = False) -> str:
    return clean(pages, paged).text


def test_lines_broken_by_the_width_of_the_page_become_one_paragraph() -> None:
    text = "The spray ball runs at three bar and sixty\nlitres a minute, and it turns twice in a\nsecond."

    assert (
        cleaned(text) == "The spray ball runs at three bar and sixty litres a minute, and it turns twice in a second."
    )


def test_a_line_that_had_room_for_the_next_word_was_broken_on_purpose() -> None:
    text = "Operations, part 2\nFor everyone who works in the press hall or the vat house, and for\nits guests."

    assert cleaned(text).split("\n") == [
        "Operations, part 2",
        "For everyone who works in the press hall or the vat house, and for its guests.",
    ]


def test_list_items_and_table_rows_keep_their_lines() -> None:
    text = "1. Rinse the tank with cold water, all the\nway up.\n2. Drain.\n\n3. Dry.\n\nAcid | 2 g\nBase | 3 g"

    assert cleaned(text).split("\n") == [
        "1. Rinse the tank with cold water, all the way up.",
        "2. Drain.",
        "3. Dry.",
        "",
        "Acid | 2 g",
        "Base | 3 g",
    ]


def test_a_word_broken_by_a_hyphen_is_made_whole_and_a_hyphenated_word_keeps_its_hyphen() -> None:
    text = "A well-known case of fermen-\ntation is called well-\nknown here. It is natural co-\noperation."

    assert cleaned(text) == "A well-known case of fermentation is called well-known here. It is natural cooperation."


def test_soft_hyphens_control_and_invisible_characters_go_and_accents_are_composed() -> None:
    assert cleaned("fer\u00admen\u200btation\x00 of Rose\u0301\u202e") == "fermentation of Rosé"


def test_running_heads_and_page_numbers_of_a_pdf_are_dropped_and_other_lines_stay() -> None:
    pages = [f"Handbook, part 5\n\nTank {n} holds {n}00 litres.\n\nPage {n} of 3" for n in (1, 2, 3)]

    assert (
        cleaned(*pages, paged=True)
        == "Tank 1 holds 100 litres.\n\nTank 2 holds 200 litres.\n\nTank 3 holds 300 litres."
    )


def test_text_without_pages_keeps_lines_that_look_like_page_numbers() -> None:
    assert cleaned("12\n\nbottles", paged=False) == "12\n\nbottles"


def test_a_sentence_that_runs_over_a_page_break_is_made_whole_and_pages_begin_where_their_text_does() -> None:
    document = clean(["The red wine rests in the", "", "old barrel until spring.\n\nThen it is racked."], paged=True)

    assert document.text == "The red wine rests in the old barrel until spring.\n\nThen it is racked."
    assert document.page_starts == (0, 25, 26)
    assert [document.page_at(offset) for offset in (0, 24, 26, 60)] == [1, 1, 3, 3]


def test_a_document_without_pages_has_no_page_numbers() -> None:
    assert clean(["text"], paged=False).page_at(2) is None


@pytest.mark.parametrize(
    ("question", "expected"),
    [("  What\nis\tRose\u0301?\x07 ", "What is Rosé?"), ("fer\u00admentation", "fermentation"), ("\u200b", "")],
)
def test_a_question_is_cleaned_like_a_document_and_put_on_one_line(question: str, expected: str) -> None:
    assert clean_query(question) == expected


@example(["Z-", "", "a"], True)
@given(st.lists(st.text(alphabet=st.sampled_from("abZ1 .-\n\u0301\u00ad|"), max_size=60), max_size=5), st.booleans())
def test_cleaned_text_is_normal_trimmed_and_its_pages_ascend(pages: list[str], paged: bool) -> None:
    document = clean(pages, paged)

    assert document.text == unicodedata.normalize("NFC", document.text).strip()
    assert "\n\n\n" not in document.text and "  " not in document.text
    assert list(document.page_starts) == sorted(document.page_starts)
    assert len(document.page_starts) == (len(pages) if paged else 0)
    assert all(start <= len(document.text) for start in document.page_starts)
