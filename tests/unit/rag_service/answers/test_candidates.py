"""What of a passage can stand as an answer, and what it stands under."""

from rag_service.answers.candidates import Candidate
from rag_service.answers.candidates import candidates as scored
from rag_service.index.hybrid import Hit
from tests.unit.rag_service.answers.conftest import MakeHit


def candidates(hits: list[Hit], question: str = "") -> list[Candidate]:
    """In reading order."""
    return sorted(scored(question, hits), key=lambda one: (one.rank, one.position))


def test_sentences_come_in_reading_order_with_their_place(hit: MakeHit) -> None:
    found = candidates([hit("The siren sounds. Everyone leaves."), hit("Doors stay shut.", document="d2")])

    assert [(c.rank, c.position, c.text) for c in found] == [
        (0, 0, "The siren sounds."),
        (0, 1, "Everyone leaves."),
        (1, 0, "Doors stay shut."),
    ]


def test_a_heading_is_no_answer_but_the_context_of_what_follows(hit: MakeHit) -> None:
    found = candidates([hit("First aid\n\nRinse the eyes for 15 minutes.")])

    assert [(c.text, c.statement.context, c.statement.in_context) for c in found] == [
        ("Rinse the eyes for 15 minutes.", "First aid", "First aid: Rinse the eyes for 15 minutes.")
    ]


def test_list_items_stand_under_the_line_that_leads_them_and_later_text_does_not(hit: MakeHit) -> None:
    text = "Mixtures\n\nThree are forbidden:\n- acid with caustic soda;\n- acid with bleach.\nAsk when unsure."

    found = candidates([hit(text)])

    assert [(c.text, c.statement.context) for c in found] == [
        ("- acid with caustic soda;", "Mixtures Three are forbidden:"),
        ("- acid with bleach.", "Mixtures Three are forbidden:"),
        ("Ask when unsure.", "Mixtures"),
    ]


def test_a_table_row_comes_with_its_column_names_and_these_never_alone(hit: MakeHit) -> None:
    text = "Doses\n\npH | White | Red\n3.3 | 26 | 16\n3.4 | 33 | 20\n\nWhites are dosed first."

    found = candidates([hit(text)])

    assert [(c.text, c.statement.context) for c in found] == [
        ("pH | White | Red\n3.3 | 26 | 16", "Doses"),
        ("pH | White | Red\n3.4 | 33 | 20", "Doses"),
        ("Whites are dosed first.", "Doses"),
    ]


def test_rows_that_go_on_from_the_chunk_before_have_no_column_names(hit: MakeHit) -> None:
    found = candidates([hit("3.3 | 26 | 16\n3.4 | 33 | 20", ordinal=4)])

    assert [c.text for c in found] == ["3.3 | 26 | 16", "3.4 | 33 | 20"]


def test_a_sentence_that_two_passages_share_counts_once_at_the_better_one(hit: MakeHit) -> None:
    found = candidates([hit("Doors stay shut. Fans run."), hit("Bells ring. DOORS  stay shut.", document="d2")])

    assert [(c.rank, c.text) for c in found] == [(0, "Doors stay shut."), (0, "Fans run."), (1, "Bells ring.")]


def test_a_statement_of_the_kind_that_is_asked_for_comes_first(hit: MakeHit) -> None:
    question = "When was the press bought?"
    passage = hit("The press was bought by Ada. The press was bought in 1871.", question=question)

    assert scored(question, [passage])[0].text == "The press was bought in 1871."


def test_a_pronoun_is_understood_by_the_statement_before_it(hit: MakeHit) -> None:
    question = "Where does the steward of Arlen live?"
    text = "The fans run all day long. Bert is the steward of Arlen. He has a house at Brook."
    found = {one.text: one.match for one in scored(question, [hit(text, question=question)])}

    assert found["He has a house at Brook."].coverage == 0
    assert found["He has a house at Brook."].context_coverage > found["The fans run all day long."].context_coverage
