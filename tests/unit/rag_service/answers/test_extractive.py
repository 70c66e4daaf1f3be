"""The extractive model quotes the statements that answer best, within its limits."""

import pytest

from rag_service.answers.evidence import Quotation
from rag_service.answers.extractive import ExtractiveModel, shortened
from rag_service.answers.grounding import check
from rag_service.index.hybrid import Hit
from tests.unit.rag_service.answers.conftest import CountingEncoder, MakeHit


def quoted(model: ExtractiveModel, question: str, hits: list[Hit]) -> list[str]:
    return [quotation.text for quotation in model.quotations(question, hits)]


def test_the_sentence_that_answers_is_quoted_word_for_word(encoder: CountingEncoder, hit: MakeHit) -> None:
    question = "When does the museum open on Sunday?"
    text = "The vat house has three fans. The museum opens on the first Sunday of March, from ten to four."

    draft = quoted(ExtractiveModel(14), question, [hit(text, question=question, encoder=encoder)])

    assert draft == ["The museum opens on the first Sunday of March, from ten to four."]


def test_sentences_are_chosen_by_score_and_come_in_reading_order(encoder: CountingEncoder, hit: MakeHit) -> None:
    question = "museum press"
    first = hit("Gamma stands alone. Beta owns a museum press.", question=question, encoder=encoder)
    second = hit("Delta is far away. This is the museum press.", document="d2", question=question, encoder=encoder)

    draft = quoted(ExtractiveModel(10), question, [first, second])

    assert draft == ["Beta owns a museum press.", "This is the museum press."]


def test_an_answer_never_has_more_words_than_allowed(encoder: CountingEncoder, hit: MakeHit) -> None:
    long = "The museum press " + "turns slowly and " * 25 + "stops."
    assert len(long.split()) == 79
    for most in (10, 30, 60):
        question = "When does the museum press stop?"
        draft = quoted(
            ExtractiveModel(most), question, [hit(f"{long} Ada is here.", question=question, encoder=encoder)]
        )

        assert draft
        assert sum(len(text.split()) for text in draft) <= most
        assert all(text.strip("\u2026") in f"{long} Ada is here." for text in draft)


def test_a_long_sentence_is_cut_to_the_part_that_has_what_is_asked_for() -> None:
    text = (
        "During that time in Europe, on May 18, 1756, England formally declared war on France, which expanded the war "
        "into Europe, which was later to be known by many as the long war of seven whole years."
    )

    found = shortened("When did England formally declare war on France?", text, 20)

    assert found is not None
    assert "May 18, 1756, England formally declared war on France" in found


def test_a_cut_is_marked_where_words_are_missing_and_ends_in_no_comma() -> None:
    text = (
        "In the spring of that year, the monks of the abbey built the press of heavy oak, which was carried over the "
        "river on two boats by forty men."
    )

    assert shortened("Who built the press of oak?", text, 13) == (
        "\u2026the monks of the abbey built the press of heavy oak\u2026"
    )
    assert shortened("What was carried over the river on boats?", text, 12) == (
        "\u2026which was carried over the river on two boats by forty men."
    )


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (
            "Is smoking permitted on the estate?",
            "Smoking by visitors is permitted on the estate after the harvest has been brought in, but in the barrel "
            "hall it stays forbidden all year round for everybody.",
        ),
        (
            "May visitors enter the barrel room?",
            "Visitors may enter the barrel room when a member of the staff who knows the house and the way out of it "
            "goes in before them.",
        ),
        (
            "May visitors enter the barrel room?",
            "Visitors may enter the barrel room and look at the press, unless the lamp beside the door of the hall is "
            "red or the fans are running.",
        ),
    ],
)
def test_a_cut_loses_no_exception_and_no_condition(question: str, text: str) -> None:
    assert all(shortened(question, text, most) is None for most in range(5, 20))


def test_a_marked_cut_is_supported_by_the_whole_sentence(encoder: CountingEncoder, hit: MakeHit) -> None:
    text = "In the spring of that year, the monks built the press of oak and iron, which was carried over the river."
    passage = hit(f"Ada is here. {text}")

    (found,) = check("?", [Quotation("\u2026the monks built the press of oak and iron\u2026")], [passage], encoder)

    assert found.text == "\u2026the monks built the press of oak and iron\u2026"
    assert encoder.encoded == []
    ((span,),) = (proof.spans for proof in found.proofs)
    assert passage.chunk.text[span.start : span.end] == text
    assert not check("?", [Quotation("\u2026the monks built the press of oak and ir\u2026")], [passage], encoder)


def test_what_would_mean_something_else_by_itself_is_not_cut_out() -> None:
    text = (
        "Nobody in this house has ever claimed, neither in the old books nor in the letters of the founder that lie in "
        "the chest, that the press was built by Ada Brun in 1756, however often visitors were told so by others."
    )

    assert shortened("Who built the press in 1756?", text, 12) is None


def test_a_statement_that_cannot_be_cut_leaves_its_room_to_the_next(encoder: CountingEncoder, hit: MakeHit) -> None:
    question = "Who built the museum press?"
    text = (
        "It is not so, whatever the guides tell each visitor of this old house by the river, that the museum press was "
        "never built by Ada. Carl Weiss built a press in the year 1756."
    )

    draft = quoted(ExtractiveModel(14), question, [hit(text, question=question, encoder=encoder)])

    assert draft == ["Carl Weiss built a press in the year 1756."]


def test_near_duplicates_of_overlapping_chunks_are_quoted_once(encoder: CountingEncoder, hit: MakeHit) -> None:
    one = hit("After a red alarm nobody goes back for 10 minutes.")
    same_but_a_word = hit("After a red alarm nobody goes back inside for 10 minutes.", document="d2")
    part = hit("a red alarm nobody goes back for 10 minutes.", document="d3")

    assert quoted(ExtractiveModel(), "red alarm", [one, same_but_a_word, part]) == [one.chunk.text]


def test_a_row_of_a_table_is_found_by_its_column_names(encoder: CountingEncoder, hit: MakeHit) -> None:
    question = "What is the volume of the tank South?"
    table = hit("Tank | Volume | Foreman\nNorth | 40 hl | Ada\nSouth | 60 hl | Bert", 0.5, question=question)
    other = hit("Ada likes music. Bert likes cheese. The yard is wide.", 0.5, document="d2", question=question)

    draft = quoted(ExtractiveModel(11), question, [table, other])

    assert draft == ["Tank | Volume | Foreman\nSouth | 60 hl | Bert"]


def test_passages_without_a_sentence_draft_nothing(hit: MakeHit) -> None:
    assert quoted(ExtractiveModel(), "red alarm", [hit("First aid")]) == []


def quoted_from(question: str, hits: list[Hit], encoder: CountingEncoder) -> list[tuple[str, tuple[int, ...], str]]:
    """Each sentence of an answer, the passages that it cites, and what stands before its place in the first of them."""
    found = check(question, ExtractiveModel().quotations(question, hits), hits, encoder)
    places = [(one, one.proofs[0]) for one in found]
    return [
        (one.text, one.ranks, hits[proof.rank].chunk.text[: proof.spans[-1].start].rstrip()) for one, proof in places
    ]


def test_words_that_stand_twice_are_quoted_from_where_they_answer(encoder: CountingEncoder, hit: MakeHit) -> None:
    hours = "Monday | 10 o'clock\nTuesday | 11 o'clock"
    tables = f"Winter\n\nDay | Red hall opens\n{hours}\n\nSummer\n\nDay | White hall opens\n{hours}"
    steps = "The press\n\nEmpty it before it is washed.\n\nThe pump\n\nEmpty it before it is washed."
    asked = "When does the white hall open on Monday in summer?"

    rows = quoted_from(asked, [hit(tables, question=asked, encoder=encoder)], encoder)
    assert ("Day | White hall opens\nMonday | 10 o'clock", (0,), tables.removesuffix(f"\n{hours}")) in rows

    asked = "How is the pump washed?"
    (step,) = quoted_from(asked, [hit(steps, question=asked, encoder=encoder)], encoder)
    assert step[2].endswith("The pump")


def test_a_sentence_that_refers_back_is_cited_from_its_own_passage_alone(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    closed = "It is closed on every public holiday."
    asked = "Is the library closed on a public holiday?"
    library = hit(f"The library lends books. {closed}", question=asked, encoder=encoder)
    pool = hit(f"The pool is heated. {closed}", document="d2", question=asked, encoder=encoder)

    found = {text: ranks for text, ranks, _ in quoted_from(asked, [library, pool], encoder)}

    assert found[closed] == (0,)
