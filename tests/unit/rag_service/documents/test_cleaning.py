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
        == "Handbook, part 5\n\nTank 1 holds 100 litres.\n\nTank 2 holds 200 litres.\n\nTank 3 holds 300 litres."
    )


@pytest.mark.parametrize(
    "heads",
    [
        ["Tank 1", "Tank 2", "Tank 3", "Tank 4"],
        ["Step 1 of 4", "Step 2 of 4", "Step 3 of 4", "Step 4 of 4"],
        ["Lot 2019", "Lot 2020", "Lot 2021", "Lot 2022"],
        ["Lot 7 | Page 1", "Lot 9 | Page 2", "Lot 4 | Page 3", "Lot 6 | Page 4"],
        ["Tank | 1", "Tank | 2", "Tank | 3", "Tank | 4"],
        ["150", "161", "99", "48"],
        ["12", "12", "12", "12"],
        ["1.5", "2.5", "3.5", "4.5"],
    ],
)
def test_what_tells_the_pages_of_a_pdf_apart_by_a_figure_stays(heads: list[str]) -> None:
    bodies = ["It stands in the north.", "It was sold to Ada.", "It leaks.", "It is of oak."]
    pages = [f"{head}\n\n{body}" for head, body in zip(heads, bodies, strict=True)]

    assert cleaned(*pages, paged=True) == "\n\n".join(pages)


def test_a_line_that_the_pages_of_a_pdf_repeat_stays_where_it_comes_first() -> None:
    pages = [f"Is the door of the {room} locked?\n\nAsk the porter." for room in ("cellar", "press hall", "shop")]

    assert cleaned(*pages, paged=True).split("\n\n") == [
        "Is the door of the cellar locked?",
        "Ask the porter.",
        "Is the door of the press hall locked?",
        "Is the door of the shop locked?",
    ]


def test_a_title_that_is_the_running_head_as_well_is_there_once() -> None:
    pages = [f"The Manual | Page {n} of 3\n\n{text}" for n, text in enumerate(("Rinse.", "Drain.", "Dry."), start=1)]

    assert cleaned(*pages, paged=True).split("\n\n") == ["The Manual | Page 1 of 3", "Rinse.", "Drain.", "Dry."]
    titled = [f"{pages[0]}\n\nThe Manual", *pages[1:]]
    assert cleaned(*titled, paged=True).split("\n\n") == ["Rinse.", "The Manual", "Drain.", "Dry."]


def test_a_running_head_that_begins_after_the_title_page_stands_in_no_sentence() -> None:
    pages = ["The Manual\n\nEmpty the tank and", "Cellar\n\nrinse it", "Cellar\n\nwith water.", "Cellar\n\nDry it."]

    assert "Cellar" not in cleaned(*pages, paged=True)


def test_a_page_of_a_pdf_that_only_repeats_others_keeps_its_words() -> None:
    pages = [f"Is it locked?\n\n{said}\n\n- {n} -" for n, said in enumerate(("Yes.", "Yes.", "Yes.", "No."), start=1)]

    assert cleaned(*pages, paged=True).split("\n\n") == [*["Is it locked?", "Yes."] * 3, "No."]


def test_a_page_of_a_pdf_that_has_nothing_but_its_number_keeps_it() -> None:
    assert cleaned("Rinse.\n\n1", "2", "Dry.\n\n3", paged=True) == "Rinse.\n\n2\n\nDry."


@pytest.mark.parametrize(
    "numbers",
    [
        ["1", "2", "3", "4"],
        ["231", "232", "233", "234"],
        ["- 3 -", "- 4 -", "- 5 -", "- 6 -"],
        ["1 / 4", "2 / 4", "3 / 4", "4 / 4"],
        ["Seite 1 von 4", "Seite 2 von 4", "Seite 3 von 4", "Seite 4 von 4"],
        ["p. 7", "p. 8", "p. 9", "p. 10"],
        ["The Cellar 9", "The Cellar 10", "The Cellar 11", "The Cellar 12"],
        ["9 | Ada Lee", "10 | Ada Lee", "11 | Ada Lee", "12 | Ada Lee"],
    ],
)
def test_a_figure_that_runs_with_the_pages_of_a_pdf_is_a_page_number(numbers: list[str]) -> None:
    bodies = ["It stands in the north.", "It was sold.", "It leaks.", "It is of oak."]
    heads = ["The Cellar", "Ada Lee | March"]
    pages = ["\n\n".join([*heads, body, number]) for body, number in zip(bodies, numbers, strict=True)]

    assert cleaned(*pages, paged=True).split("\n\n") == [*heads, *bodies]


def test_a_figure_at_the_edge_that_does_not_run_with_the_others_is_no_page_number() -> None:
    pages = ["Rinse.\n\n1", "Bottles:\n\n150\n\n2", "Dry.\n\n3", "Bottles left:\n\n3"]

    assert cleaned(*pages, paged=True).split("\n\n") == ["Rinse.", "Bottles:", "150", "Dry.", "Bottles left:", "3"]


def test_a_pdf_of_one_page_loses_its_page_number_but_no_other_figure() -> None:
    assert cleaned("Bottles:\n\n150\n\nPage 1 of 1", paged=True) == "Bottles:\n\n150"


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
