"""From a question to a cited answer or a refusal with its reason."""

from collections.abc import Sequence

import pytest

from cuvee.errors import InvalidInputError
from rag_service.answers.answerer import Answerer, Asked, Sentence
from rag_service.index.filters import place
from rag_service.index.generation import Hit, Manifest
from rag_service.index.search import Retriever
from tests.unit.rag_service.answers.conftest import CountingEncoder, MakeHit

FANS = "The fans start at 3,000 ppm and run for 10 minutes."
DOORS = "The doors of the cellar stay shut."
BOTH = f"{FANS} {DOORS}"


class FixedModel:
    """Drafts the same sentences whatever it is asked."""

    name = "fixed-1"

    def __init__(self, *draft: str) -> None:
        self._draft = list(draft)
        self.asked: list[tuple[str, int]] = []

    def draft(self, question: str, hits: Sequence[Hit]) -> list[str]:
        self.asked.append((question, len(hits)))
        return self._draft


class FixedGeneration:
    """Finds the same hits whatever is searched."""

    def __init__(self, hits: list[Hit], threshold: float = 0.4) -> None:
        self.hits = hits
        self.searched: list[tuple[int, str | None, str | None]] = []
        self.manifest = Manifest(
            number=7,
            embedder="counting",
            embedder_version="counting@1",
            dimension=512,
            documents=2,
            chunks=3,
            chunker="sentences",
            refusal_threshold=threshold,
            files={},
        )

    def search(self, vector, top_k, topic=None, segment=None):
        self.searched.append((top_k, topic, segment))
        return self.hits[:top_k]


def ask(encoder: CountingEncoder, model: FixedModel, hits: list[Hit], question="When do the fans start?", **places):
    retriever = Retriever(FixedGeneration(hits), encoder)
    return Answerer(model, encoder).answer(
        retriever, Asked(question, where=place(**{"topic": None, "segment": None} | places))
    )


def test_every_sentence_is_cited_and_sources_are_numbered_as_they_are_first_cited(
    encoder: CountingEncoder, hit: MakeHit
) -> None:
    hits = [hit("Nothing of use here.", 0.9), hit(DOORS, 0.8, "d2"), hit(BOTH, 0.7, "d3")]

    answer = ask(encoder, FixedModel(FANS, DOORS), hits)

    assert answer.answer == f"{FANS} [1] {DOORS} [1][2]"
    assert answer.sentences == (Sentence(FANS, (1,)), Sentence(DOORS, (1, 2)))
    assert [(s.number, s.document_id, s.score) for s in answer.sources] == [(1, "d3", 0.7), (2, "d2", 0.8)]
    assert not answer.refused


def test_a_source_shows_title_page_span_and_text(encoder: CountingEncoder, hit: MakeHit) -> None:
    answer = ask(encoder, FixedModel(FANS), [hit(FANS, start=100, title="Gas")])

    source = answer.sources[0]
    assert (source.title, source.uri, source.page, source.text) == ("Gas", "d1.pdf", 2, FANS)
    assert (source.start_char, source.end_char) == (100, 100 + len(FANS))


def test_an_answer_names_every_version_and_how_long_each_step_took(encoder: CountingEncoder, hit: MakeHit) -> None:
    answer = ask(encoder, FixedModel(FANS), [hit(FANS)])

    versions = answer.versions
    assert (versions.generation, versions.embedder, versions.answer_model) == (7, "counting@1", "fixed-1")
    assert set(answer.timings_ms) == {"embed", "search", "answer", "total"}
    parts = answer.timings_ms["embed"] + answer.timings_ms["search"] + answer.timings_ms["answer"]
    assert 0 < parts <= answer.timings_ms["total"] + 0.05


def test_sentences_without_support_are_left_out(encoder: CountingEncoder, hit: MakeHit) -> None:
    answer = ask(encoder, FixedModel("The fans start at 9,000 ppm and run for 10 minutes.", DOORS), [hit(BOTH)])

    assert answer.answer == f"{DOORS} [1]"


@pytest.mark.parametrize("score", [0.39, -1.0])
def test_passages_below_the_threshold_of_the_generation_are_not_answered_from(
    score: float, encoder: CountingEncoder, hit: MakeHit
) -> None:
    model = FixedModel(FANS)

    answer = ask(encoder, model, [hit(FANS, score)])

    assert answer.refused
    assert answer.answer == "Not found in the documents: no passage is near enough to the question."
    assert (answer.sentences, answer.sources, model.asked) == ((), (), [])


def test_a_passage_exactly_at_the_threshold_is_answered_from(encoder: CountingEncoder, hit: MakeHit) -> None:
    assert not ask(encoder, FixedModel(FANS), [hit(FANS, 0.4)]).refused


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ({}, "nothing is indexed"),
        ({"topic": "law"}, "nothing is indexed for topic 'law'"),
        ({"topic": "law", "segment": "eu"}, "nothing is indexed for topic 'law' and segment 'eu'"),
    ],
)
def test_where_nothing_is_indexed_the_refusal_says_so(
    places: dict[str, str], reason: str, encoder: CountingEncoder
) -> None:
    answer = ask(encoder, FixedModel(FANS), [], **places)

    assert (answer.refused, answer.answer) == (True, f"Not found in the documents: {reason}.")


@pytest.mark.parametrize("draft", [[], ["The sun is a star of the Milky Way."]])
def test_an_answer_without_any_supported_sentence_is_a_refusal(
    draft: list[str], encoder: CountingEncoder, hit: MakeHit
) -> None:
    answer = ask(encoder, FixedModel(*draft), [hit(FANS)])

    assert answer.refused
    assert "no sentence of the answer model is supported" in answer.answer
    assert answer.sources == ()


def test_the_question_is_cleaned_before_it_is_embedded_and_asked(encoder: CountingEncoder, hit: MakeHit) -> None:
    model = FixedModel(FANS)

    ask(encoder, model, [hit(FANS)], "  When do\u200b the \n fans start? ")

    assert model.asked == [("When do the fans start?", 1)]
    assert encoder.encoded[0] == "When do the fans start?"


def test_a_question_of_invisible_characters_is_refused_as_input(encoder: CountingEncoder) -> None:
    with pytest.raises(InvalidInputError, match="ask it in words"):
        ask(encoder, FixedModel(FANS), [], "\u200b \u200b")


def test_topic_segment_and_number_of_passages_reach_the_search(encoder: CountingEncoder, hit: MakeHit) -> None:
    generation = FixedGeneration([hit(FANS)])

    Answerer(FixedModel(FANS), encoder).answer(
        Retriever(generation, encoder), Asked("fans?", 5, place("cellar", "safety"))
    )

    assert generation.searched == [(5, "cellar", "safety")]
