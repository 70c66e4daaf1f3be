"""A sentence stays only if a passage says it."""

import pytest

from rag_service.answers.grounding import Supported, check
from tests.unit.rag_service.answers.conftest import CountingEncoder, MakeHit

RED = (
    "Red alarms are rare in this house. After a red alarm nobody goes back until the reading has stayed below "
    "3,000 ppm for 10 minutes. The safety officer Ada Brun walks the room with a meter."
)
QUESTION = "When may people go back?"


def kept(draft: list[str], encoder: CountingEncoder, *hits) -> list[Supported]:
    return check(QUESTION, draft, hits, encoder)


def test_a_quotation_is_supported_by_every_passage_that_holds_it(encoder: CountingEncoder, hit: MakeHit) -> None:
    other = hit("Fans run at night.", document="d2")
    again = hit("Fans  run. The safety officer Ada Brun walks the room with a meter.", document="d3")

    found = kept(["The safety officer Ada Brun walks the room with a meter."], encoder, hit(RED), other, again)

    assert found == [Supported("The safety officer Ada Brun walks the room with a meter.", (0, 2))]


def test_overlapping_chunks_of_one_document_are_one_place(encoder: CountingEncoder, hit: MakeHit) -> None:
    text = "The safety officer Ada Brun walks the room with a meter."
    first, overlapping = hit(f"One. {text}", start=0), hit(f"{text} Two.", start=5)
    apart = hit(text, start=5000)

    assert kept([text], encoder, first, overlapping, apart) == [Supported(text, (0, 2))]


def test_a_quotation_must_not_end_inside_a_figure(encoder: CountingEncoder, hit: MakeHit) -> None:
    passage = hit("The tank for rosé holds 405 hl of wine.")

    assert kept(["The tank for rosé holds 40"], encoder, passage) == []
    assert len(kept(["The tank for rosé holds 405"], encoder, passage)) == 1


def test_a_row_under_its_column_names_is_a_quotation_although_other_rows_stand_between(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    table = hit("pH | White | Red\n3.3 | 26 | 16\n3.4 | 33 | 20")

    assert len(kept(["pH | White | Red\n3.4 | 33 | 20"], encoder, table)) == 1
    assert kept(["pH | White | Red\n3.4 | 33 | 21"], encoder, table) == []


def test_other_words_for_the_same_are_supported(encoder: CountingEncoder, hit: MakeHit) -> None:
    draft = ["Nobody goes back after a red alarm until the reading stayed below 3000 ppm for 10 minutes."]

    assert [s.ranks for s in kept(draft, encoder, hit(RED))] == [(0,)]


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("After a red alarm nobody goes back until the reading has stayed below 2,000 ppm for 10 minutes.", "figure"),
        ("After a red alarm people go back when the reading has stayed below 3,000 ppm for 10 minutes.", "negation"),
        ("The safety officer Ada Marlow walks the room with a meter.", "name"),
        ("Marlow walks the room with a meter and the safety officer Ada Brun.", "name at the start"),
        ("The safety officer Ada Brun sleeps quietly under a meter of warm blankets.", "content words"),
        ("Red alarms 10 minutes safety officer walks house reading.", "words from all over the passage"),
        ("When may people go back?", "a question"),
        ("   ", "nothing"),
    ],
)
def test_a_sentence_that_the_passage_does_not_say_is_dropped(
    sentence: str, why: str, encoder: CountingEncoder, hit: MakeHit
) -> None:
    assert kept([sentence], encoder, hit(RED)) == [], why


def test_a_name_may_stand_in_the_title_or_elsewhere_in_the_passage(encoder: CountingEncoder, hit: MakeHit) -> None:
    passage = hit("It opens on the first Sunday of March, from ten to four.", title="The Brun Museum")

    assert len(kept(["The Brun Museum opens on the first Sunday of March, from ten to four."], encoder, passage)) == 1
    assert kept(["The Marlow Museum opens on the first Sunday of March, from ten to four."], encoder, passage) == []


def test_a_fragment_needs_evidence_that_is_near_the_question(encoder: CountingEncoder, hit: MakeHit) -> None:
    asked = hit("The yard valve closes the drain in 4 seconds.", document="d1")
    elsewhere = hit("Hold the lid for 4 seconds, then let the cork go and smell.", document="d2")

    found = check("How fast does the yard valve close the drain?", ["4 seconds"], [elsewhere, asked], encoder)

    assert found == [Supported("4 seconds", (1,))]


def test_a_sentence_said_twice_is_kept_once(encoder: CountingEncoder, hit: MakeHit) -> None:
    sentence = "Red alarms are rare in this house."

    assert kept([sentence, sentence.upper()], encoder, hit(RED)) == [Supported(sentence, (0,))]
