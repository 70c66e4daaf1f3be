"""From a question to a cited answer or a refusal with its reason."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from cuvee.errors import InvalidInputError
from rag_service.answers import refusal
from rag_service.answers.answerer import (
    Answer,
    Answerer,
    Asked,
    Checked,
    Quote,
    Sentence,
    SourcesFound,
    Token,
    Turn,
)
from rag_service.answers.evidence import Quotation
from rag_service.answers.models import AnswerModel
from rag_service.index.generation import Manifest
from rag_service.index.hybrid import Hit
from rag_service.index.search import Found
from tests.unit.rag_service.answers.conftest import CountingEncoder, MakeHit

FANS = "The fans start at 3,000 ppm and run for 10 minutes."
DOORS = "The doors of the cellar stay shut."
BOTH = f"{FANS} {DOORS}"
QUESTION = "When do the fans start?"


def by_score(found: Found, manifest: Manifest) -> str | None:
    """Refuses below the threshold, by the score alone."""
    if not found.hits:
        return refusal.NOTHING_THERE
    return refusal.NOT_THERE if found.hits[0].score < manifest.refusal_threshold else None


def answerer(model: AnswerModel, rewrite_questions: bool = False) -> Answerer:
    return Answerer(model, rewrite_questions, by_score)


class FixedModel:
    """Quotes the same sentences whatever it is asked."""

    name = "fixed-1"

    def __init__(self, *draft: str) -> None:
        self._draft = list(draft)
        self.asked: list[tuple[str, int]] = []

    def quotations(self, question: str, hits: Sequence[Hit]) -> list[Quotation]:
        self.asked.append((question, len(hits)))
        return [Quotation(text) for text in self._draft]


class WritingModel:
    """Writes the same pieces whatever it is asked."""

    name = "writing-1"
    may_decline = True

    def __init__(self, *pieces: str, finished: bool = True) -> None:
        self._pieces = pieces
        self._finished = finished
        self.asked: list[tuple[str, int, tuple[Turn, ...]]] = []
        self.instructions: list[str] = []
        self.closed = False

    def stream(self, question: str, hits: Sequence[Hit], history: Sequence[Turn] = ()) -> Generator[str, None, bool]:
        self.asked.append((question, len(hits), tuple(history)))
        try:
            yield from self._pieces
        finally:
            self.closed = True
        return self._finished

    def write(self, instruction: str, text: str, most_tokens: int) -> str:
        self.instructions.append(instruction)
        return "When do the cellar fans begin to run?"


@dataclass
class FixedGeneration:
    manifest: Manifest
    matching: int = 40

    def select(self, where: Any) -> range:
        return range(self.matching)


@dataclass
class FixedRetriever:
    """Finds the same hits whatever is searched."""

    hits: list[Hit]
    generation: FixedGeneration
    searched: list[tuple[str, int, Any]] = field(default_factory=list)
    scorer: None = None
    encoder: CountingEncoder = field(default_factory=CountingEncoder)

    def search(self, query: str, top_k: int, where: Any = None) -> Found:
        self.searched.append((query, top_k, where))
        return Found(self.hits[:top_k], 1.5, 2.5, np.zeros(1, dtype=np.float32))


def retriever(hits: list[Hit], threshold: float = 0.4) -> Any:
    manifest = Manifest(
        number=7,
        embedder="counting",
        embedder_version="counting@1",
        dimension=512,
        documents=16,
        chunks=1320,
        chunker="sentences",
        refusal_threshold=threshold,
        files={},
    )
    return FixedRetriever(hits, FixedGeneration(manifest))


def ask(encoder: CountingEncoder, model: Any, hits: list[Hit], question: str = QUESTION, **asked: Any) -> Answer:
    return answerer(model).answer(replace(retriever(hits), encoder=encoder), Asked(question, **asked))


def test_every_sentence_is_cited_and_sources_are_numbered_by_rank(encoder: CountingEncoder, hit: MakeHit) -> None:
    hits = [hit("Nothing of use here.", 0.9), hit(DOORS, 0.8, "d2"), hit(BOTH, 0.7, "d3")]

    answer = ask(encoder, FixedModel(FANS, DOORS), hits)

    assert answer.answer == f"{FANS} [3] {DOORS} [2][3]"
    assert answer.sentences == (Sentence(FANS, (3,), (0,)), Sentence(DOORS, (2, 3), (0, 1)))
    assert [(s.number, s.document_id, s.score) for s in answer.sources] == [(2, "d2", 0.8), (3, "d3", 0.7)]
    assert (answer.refused, answer.nearest) == (False, ())


def test_a_source_has_the_exact_quotes_and_where_they_stand_in_the_document(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    text = "After an alarm:\n- the fans  start at 3,000 ppm.\n- nobody goes back for 10 minutes."

    answer = ask(encoder, FixedModel("- the fans start at 3,000 ppm."), [hit(text, start=100, title="Gas")])

    source = answer.sources[0]
    assert (source.title, source.uri, source.page, source.text) == ("Gas", "d1.pdf", 2, text)
    assert (source.start_char, source.end_char) == (100, 100 + len(text))
    assert source.quotes == (Quote("- the fans  start at 3,000 ppm.", 116, 147, 2),)
    assert text[116 - 100 : 147 - 100] == source.quotes[0].text


def test_a_quote_has_the_page_it_stands_on_and_a_source_that_of_its_first_quote(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    over_two_pages = [hit(BOTH, page_breaks=(BOTH.index(DOORS),))]

    second = ask(encoder, FixedModel(DOORS), over_two_pages).sources[0]
    both = ask(encoder, FixedModel(DOORS, FANS), over_two_pages)

    assert (second.page, [quote.page for quote in second.quotes]) == (3, [3])
    assert (both.sources[0].page, [quote.page for quote in both.sources[0].quotes]) == (2, [2, 3])
    assert [(sentence.text, sentence.quotes) for sentence in both.sentences] == [(DOORS, (1,)), (FANS, (0,))]


def test_a_row_of_a_table_is_on_its_own_page_and_not_on_that_of_its_head(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    head, row = "Stage | Reading | Action", "Red | 15,000 ppm | Leave the cellar"
    text = f"{head}\nAmber | 5,000 ppm | Finish the work\n{row}"

    answer = ask(encoder, FixedModel(f"{head}\n{row}"), [hit(text, page_breaks=(text.index(row),))])

    assert [(quote.text, quote.page) for quote in answer.sources[0].quotes] == [(head, 2), (row, 3)]
    assert answer.sentences[0].quotes == (1,)


def test_without_quotes_a_source_has_the_page_on_which_its_passage_starts(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    refused = ask(encoder, FixedModel(FANS), [hit(BOTH, 0.1, page_breaks=(BOTH.index(DOORS),))])

    assert [(source.page, source.quotes) for source in refused.nearest] == [(2, ())]


def test_each_quote_of_a_source_comes_once_and_in_reading_order(encoder: CountingEncoder, hit: MakeHit) -> None:
    answer = ask(encoder, FixedModel(DOORS, FANS), [hit(BOTH)])

    assert [quote.text for quote in answer.sources[0].quotes] == [FANS, DOORS]


def test_what_looks_like_a_citation_in_a_documents_words_is_none_in_the_answer(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    text = "The fans [3] start at dawn [4, 5]."

    answer = ask(encoder, FixedModel(text), [hit(text)])

    assert answer.answer == "The fans (3) start at dawn (4, 5). [1]"
    assert answer.sentences[0].text == text


def test_an_answer_names_every_version_and_how_long_each_step_took(encoder: CountingEncoder, hit: MakeHit) -> None:
    answer = ask(encoder, FixedModel(FANS), [hit(FANS)])

    versions = answer.versions
    assert (versions.generation, versions.embedder, versions.answer_model) == (7, "counting@1", "fixed-1")
    assert versions.draft == "kept"
    assert set(answer.timings_ms) == {"embed", "search", "answer", "total"}
    assert (answer.timings_ms["embed"], answer.timings_ms["search"]) == (1.5, 2.5)
    assert answer.timings_ms["answer"] <= answer.timings_ms["total"]


def test_quotations_without_support_are_left_out(encoder: CountingEncoder, hit: MakeHit) -> None:
    answer = ask(encoder, FixedModel("The fans start at 9,000 ppm and run for 10 minutes.", DOORS), [hit(BOTH)])

    assert answer.answer == f"{DOORS} [1]"


@pytest.mark.parametrize("score", [0.39, -1.0])
def test_passages_below_the_threshold_of_the_generation_are_not_answered_from(
    score: float, encoder: CountingEncoder, hit: MakeHit
) -> None:
    model = FixedModel(FANS)
    hits = [hit(FANS, score), hit(DOORS, score - 0.1, "d2"), hit(BOTH, score - 0.2, "d3"), hit("Far.", -2.0, "d4")]

    answer = ask(encoder, model, hits)

    assert answer.answer == (
        "Not found in the documents. Searched 1,320 passages of 16 documents: "
        "the passages found do not seem to hold an answer."
    )
    assert (answer.refused, answer.sentences, answer.sources, model.asked) == (True, (), (), [])
    assert [(source.number, source.document_id) for source in answer.nearest] == [(1, "d1"), (2, "d2"), (3, "d3")]


def test_a_passage_exactly_at_the_threshold_is_answered_from(encoder: CountingEncoder, hit: MakeHit) -> None:
    assert not ask(encoder, FixedModel(FANS), [hit(FANS, 0.4)]).refused


def test_the_decision_to_refuse_can_be_another(encoder: CountingEncoder, hit: MakeHit) -> None:
    chosen = Answerer(FixedModel(FANS), decide=lambda found, manifest: f"only {len(found.hits)} found")

    answer = chosen.answer(retriever([hit(FANS)]), Asked(QUESTION))

    assert answer.answer.endswith(": only 1 found.")


def test_where_nothing_is_found_the_refusal_says_so(encoder: CountingEncoder) -> None:
    answer = ask(encoder, FixedModel(FANS), [])

    assert (answer.refused, answer.nearest) == (True, ())
    assert answer.answer.endswith(": nothing is indexed there.")


@pytest.mark.parametrize("draft", [[], ["The sun is a star of the Milky Way."]])
def test_an_answer_without_any_supported_sentence_is_a_refusal(
    draft: list[str], encoder: CountingEncoder, hit: MakeHit
) -> None:
    answer = ask(encoder, FixedModel(*draft), [hit(FANS)])

    assert answer.refused
    assert "no sentence of the answer model is supported" in answer.answer
    assert (answer.sources, len(answer.nearest)) == ((), 1)


def test_a_refusal_under_a_condition_says_how_many_passages_met_it(encoder: CountingEncoder, hit: MakeHit) -> None:
    answer = ask(encoder, FixedModel(FANS), [hit(FANS, 0.1)], where="topic x")

    assert answer.searched == "Searched 40 of 1,320 passages, where topic x"
    assert answer.searched in answer.answer


def test_the_question_is_cleaned_before_it_is_searched_and_asked(encoder: CountingEncoder, hit: MakeHit) -> None:
    model, found = FixedModel(FANS), retriever([hit(FANS)])

    answerer(model).answer(found, Asked("  When do\u200b the \n fans start? ", 5, "somewhere"))

    assert model.asked == [(QUESTION, 1)]
    assert found.searched == [(QUESTION, 5, "somewhere")]


def test_a_question_of_invisible_characters_is_refused_as_input(encoder: CountingEncoder) -> None:
    with pytest.raises(InvalidInputError, match="ask it in words"):
        ask(encoder, FixedModel(FANS), [], "\u200b \u200b")


# Streams


def test_a_stream_is_the_passages_then_the_draft_then_the_checked_answer(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    model = WritingModel("The fans start", " at 3,000 ppm", " and run for 10 minutes. [2] The sun", " is cold.")

    events = list(answerer(model).stream(retriever([hit(DOORS), hit(BOTH, document="d2")]), Asked(QUESTION)))

    assert isinstance(events[0], SourcesFound)
    assert [(s.number, s.document_id, s.quotes) for s in events[0].sources] == [(1, "d1", ()), (2, "d2", ())]
    assert [event.text for event in events[1:-1] if isinstance(event, Token)] == [
        "The fans start",
        " at 3,000 ppm",
        " and run for 10 minutes. [2] The sun",
        " is cold.",
    ]
    assert isinstance(events[-1], Checked)
    assert events[-1].answer.answer == f"{FANS} [2]"
    assert events[-1].answer.versions.draft == "mended"


def test_quotations_stream_sentence_by_sentence(encoder: CountingEncoder, hit: MakeHit) -> None:
    events = list(answerer(FixedModel(FANS, DOORS)).stream(retriever([hit(BOTH)]), Asked(QUESTION)))

    assert [event.text for event in events if isinstance(event, Token)] == [FANS, f" {DOORS}"]


def test_a_refused_question_streams_what_was_found_and_no_draft(encoder: CountingEncoder, hit: MakeHit) -> None:
    events = list(answerer(FixedModel(FANS)).stream(retriever([hit(FANS, 0.1)]), Asked(QUESTION)))

    assert [type(event) for event in events] == [SourcesFound, Checked]


def test_a_reader_who_goes_away_ends_the_models_work(encoder: CountingEncoder, hit: MakeHit) -> None:
    model = WritingModel("The fans", " start.")
    stream = answerer(model).stream(retriever([hit(BOTH)]), Asked(QUESTION))

    assert isinstance(next(stream), SourcesFound) and isinstance(next(stream), Token)
    stream.close()  # type: ignore[attr-defined]

    assert model.closed


# What a model writes


def test_when_nothing_that_a_model_wrote_has_support_the_passages_words_are_given_instead(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    answer = ask(encoder, WritingModel("The fans start when the moon is full."), [hit(BOTH)])

    assert not answer.refused
    assert FANS in answer.answer
    assert answer.versions == type(answer.versions)(7, "counting@1", "writing-1", "replaced")
    assert all(sentence.citations for sentence in answer.sentences)


def test_a_model_that_finds_no_answer_is_believed(encoder: CountingEncoder, hit: MakeHit) -> None:
    answer = ask(encoder, WritingModel("Not found."), [hit(BOTH)])

    assert answer.refused
    assert answer.answer.endswith(": the answer model found no answer in the passages.")
    assert len(answer.nearest) == 1


def test_a_small_model_that_finds_no_answer_is_not_believed(encoder: CountingEncoder, hit: MakeHit) -> None:
    model = WritingModel("Not found.")
    model.may_decline = False

    answer = ask(encoder, model, [hit(BOTH)])

    assert FANS in answer.answer
    assert "ot found" not in answer.answer


def test_a_sentence_that_a_limit_cut_off_is_left_out(encoder: CountingEncoder, hit: MakeHit) -> None:
    draft = f"{DOORS} The fans start at 3,000 ppm and run"

    assert ask(encoder, WritingModel(draft, finished=False), [hit(BOTH)]).answer == f"{DOORS} [1]"


# Conversations


def test_a_follow_up_is_searched_with_the_words_it_leans_on_and_asked_with_its_history(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    model, found = WritingModel(FANS), retriever([hit(BOTH)])
    history = (Turn("user", QUESTION), Turn("assistant", "At 3,000 ppm.", ("Gas alarms",)))

    answerer(model).answer(found, Asked("And how long do they run?", history=history))

    assert [query for query, _, _ in found.searched] == ["And how long do they run? fans start Gas alarms"]
    assert model.asked == [("And how long do they run?", 1, history)]


def test_with_rewriting_every_query_is_searched_and_a_passage_found_twice_counts_once(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    model, found = WritingModel(FANS), retriever([hit(BOTH), hit(DOORS, 0.5, "d2")])

    events = list(answerer(model, rewrite_questions=True).stream(found, Asked(QUESTION)))

    assert [query for query, _, _ in found.searched] == [QUESTION, "When do the cellar fans begin to run?"]
    assert isinstance(events[0], SourcesFound)
    assert [source.document_id for source in events[0].sources] == ["d1", "d2"]
    assert isinstance(events[-1], Checked)
    assert events[-1].answer.timings_ms["embed"] == 3.0


def test_a_model_is_not_asked_to_rewrite_unless_it_is_set(encoder: CountingEncoder, hit: MakeHit) -> None:
    model = WritingModel(FANS)

    ask(encoder, model, [hit(BOTH)])

    assert model.instructions == []
