"""What counts as a word, a number, a name and a negation."""

import pytest

from rag_service.answers import words


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("barrels", "barrel"),
        ("Berries", "berry"),
        ("glass", "glass"),
        ("must's", "must"),
        ("gas", "gas"),
        ("yes", "yes"),
        ("virus", "virus"),
        ("grapes", "grape"),
        ("Gruyères", "gruyère"),
    ],
)
def test_plurals_and_possessives_lose_their_endings(word: str, stem: str) -> None:
    assert words.stem(word) == stem


def test_terms_are_the_stems_of_content_words_in_order() -> None:
    assert words.terms("How many barrels, and which vats, does the cellar's crew wash?") == [
        "many",
        "barrel",
        "vat",
        "cellar",
        "crew",
        "wash",
    ]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("below 3,000 ppm for 10 minutes", {"3000", "10"}),
        ("pH 3.30 to 3.45", {"3.30", "3.45"}),
        ("1,500.5 litres on 12.3.2024", {"1500.5", "12.3.2024"}),
        ("0,5 mg", {"0,5"}),
        ("no figure", set()),
    ],
)
def test_numbers_are_as_written_without_thousands_separators(text: str, numbers: set[str]) -> None:
    assert words.numbers(text) == numbers


def test_names_are_capitalised_content_words_also_at_the_start() -> None:
    assert words.names("The Gamay of Élodie stays in Clos du Hêtre. A CO2 alarm") == {
        "gamay",
        "élodie",
        "clo",
        "hêtre",
        "co2",
    }


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("Nobody goes back.", True),
        ("It doesn't fade.", True),
        ("It doesn\u2019t fade.", True),
        ("Enter without a mask.", True),
        ("Notes are kept.", False),
    ],
)
def test_negation_is_seen(text: str, negated: bool) -> None:
    assert words.negated(text) is negated
