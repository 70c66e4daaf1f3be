"""The extractive model quotes the sentences that fit best, within its limits."""

import numpy as np

from rag_service.answers.candidates import candidates
from rag_service.answers.extractive import ExtractiveModel, overlap
from rag_service.answers.words import terms
from tests.unit.rag_service.answers.conftest import CountingEncoder, MakeHit


def test_the_sentence_that_answers_is_quoted_word_for_word(encoder: CountingEncoder, hit: MakeHit) -> None:
    passage = hit("The vat house has three fans. The museum opens on the first Sunday of March, from ten to four.")

    draft = ExtractiveModel(encoder).draft("When does the museum open on Sunday?", [passage])

    assert "The museum opens on the first Sunday of March, from ten to four." in draft
    assert all(sentence in passage.chunk.text for sentence in draft)


def test_at_most_three_sentences_are_drafted_in_reading_order_not_by_score(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    first = hit("Alpha keeps one museum, among others. Gamma stands alone. Beta likes a museum, too.", score=0.5)
    second = hit("Museum press. Delta is far away.", score=0.5, document="d2")

    draft = ExtractiveModel(encoder).draft("museum press", [first, second])

    assert draft == ["Alpha keeps one museum, among others.", "Beta likes a museum, too.", "Museum press."]


def test_sixty_words_are_not_exceeded_unless_the_best_sentence_is_longer_alone(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    long = "The museum press " + "turns slowly and " * 25 + "stops."
    assert len(long.split()) == 79
    short = "The press is iron."

    alone = ExtractiveModel(encoder).draft("museum press turns slowly stops", [hit(f"{long} {short}")])
    both = ExtractiveModel(encoder).draft("press iron", [hit(f"{long} {short}")])

    assert alone == [long]
    assert both == [short]


def test_near_duplicates_of_overlapping_chunks_are_quoted_once(encoder: CountingEncoder, hit: MakeHit) -> None:
    one = hit("After a red alarm nobody goes back for 10 minutes.")
    same_but_a_word = hit("After a red alarm nobody goes back inside for 10 minutes.", document="d2")
    part = hit("a red alarm nobody goes back for 10 minutes.", document="d3")

    assert ExtractiveModel(encoder).draft("red alarm", [one, same_but_a_word, part]) == [one.chunk.text]


def test_a_row_of_a_table_is_found_by_its_column_names(encoder: CountingEncoder, hit: MakeHit) -> None:
    table = hit("Tank | Volume | Foreman\nNorth | 40 hl | Ada\nSouth | 60 hl | Bert", score=0.5)
    other = hit("Ada likes music. Bert likes cheese. The yard is wide.", score=0.5, document="d2")

    draft = ExtractiveModel(encoder).draft("What is the volume of the tank South?", [table, other])

    assert "Tank | Volume | Foreman\nSouth | 60 hl | Bert" in draft


def test_passages_without_a_sentence_draft_nothing(encoder: CountingEncoder, hit: MakeHit) -> None:
    assert ExtractiveModel(encoder).draft("red alarm", [hit("First aid")]) == []


def test_overlap_weighs_rare_words_more_than_common_ones(hit: MakeHit) -> None:
    found = candidates([hit("Cellar one holds wine. Cellar two holds cider. Yard three holds carts.")])

    shares = overlap(terms("cellar wine"), found)

    # Of three sentences two hold "cellar": idf ln(1 + 1.5/2.5); one holds "wine": ln(1 + 2.5/1.5).
    cellar, wine = np.log(1 + 1.5 / 2.5), np.log(1 + 2.5 / 1.5)
    np.testing.assert_allclose(shares, [1.0, cellar / (cellar + wine), 0.0])
