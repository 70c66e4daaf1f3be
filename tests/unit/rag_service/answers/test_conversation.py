"""Which questions lean on what was said before, and what is searched for then."""

from collections.abc import Generator, Sequence
from typing import Any

import pytest

from rag_service.answers.answerer import Asked, Turn
from rag_service.answers.conversation import follows_up, queries, standalone

DISC = (Turn("user", "What is burnt inside an empty barrel?"), Turn("assistant", "A disc.", ("Barrel programme",)))


@pytest.mark.parametrize(
    "question",
    [
        "How often is it burnt?",
        "And for casks?",
        "What about casks of 600 litres?",
        "Why?",
        "Why not?",
        "How long?",
        "Who does that?",
        "Is this allowed?",
        "When do they start?",
        "Where are these kept?",
        "What are its limits?",
        "And then?",
        "Who decides?",
        "What about her?",
    ],
)
def test_a_question_without_its_noun_or_with_too_few_words_follows_up(question: str) -> None:
    assert follows_up(question)


@pytest.mark.parametrize(
    "question",
    [
        "What is burnt inside a small barrel that stands empty, and how often?",
        "Which rootstock are the Gamay vines of Les Grézolles grafted on?",
        "It rained 20 mm last night. How long should we hold off picking?",
        "Is it allowed to enter the press house during a red alarm?",
        "If a barrel leaks, who repairs it?",
        "What is racking?",
        "Who won the football world cup in 1998?",
        "How fast does the yard valve that closes the drain work?",
        "There are two tanks beside the press; which one is the older?",
        "Who is Ada Brun?",
    ],
)
def test_a_question_that_stands_alone_is_left_as_it_is(question: str) -> None:
    assert not follows_up(question)
    assert standalone(question, DISC) == question


def test_a_follow_up_gets_the_content_words_of_the_question_before_and_the_cited_titles() -> None:
    assert standalone("How often is it done?", DISC) == "How often is it done? burnt inside empty barrel programme"


def test_a_chain_of_follow_ups_keeps_what_it_began_with() -> None:
    history = (*DISC, Turn("user", "How often is it done?"), Turn("assistant", "Every four weeks."))

    assert standalone("And who does it?", history) == (
        "And who does it? often done burnt inside empty barrel programme"
    )


def test_without_a_history_nothing_is_added() -> None:
    assert queries(Asked("How long?")) == ["How long?"]
    assert queries(Asked("How long?", history=(Turn("assistant", "Hello."),))) == ["How long?"]


def test_what_is_added_is_bounded() -> None:
    history = (Turn("user", " ".join(f"barrel{n}" for n in range(500))),)

    assert len(standalone("How long?", history).split()) == 2 + 24


class Writer:
    """Writes what it is told to, one text for each instruction."""

    name, may_decline = "writer-1", True

    def __init__(self, rewritten: str = "", variants: str = "") -> None:
        self._texts = {"Rewrite": rewritten, "Put the": variants}
        self.read: list[str] = []

    def stream(self, question: str, hits: Sequence[Any], history: Sequence[Turn] = ()) -> Generator[str, None, bool]:
        yield from ()
        return True

    def write(self, instruction: str, text: str, most_tokens: int) -> str:
        self.read.append(text)
        return self._texts[instruction[:7]]


def test_a_model_may_put_a_follow_up_in_full() -> None:
    writer = Writer("Question: How often is the disc burnt inside an empty barrel?\nBecause ...")

    found = queries(Asked("How often is it burnt?", history=DISC), writer)

    assert found == ["How often is the disc burnt inside an empty barrel?"]
    assert writer.read[0] == (
        "user: What is burnt inside an empty barrel?\nassistant: A disc.\nuser: How often is it burnt?"
    )


@pytest.mark.parametrize(
    "rewritten",
    [
        "",
        "Who is the king of France?",
        "How often is it burnt in Burgundy?",
        "How often is it burnt within 24 hours?",
        "How often is it burnt? " + "really " * 80,
    ],
)
def test_a_rewriting_that_loses_the_question_or_invents_gives_way_to_the_rule(rewritten: str) -> None:
    (first, *_) = queries(Asked("How often is it burnt?", history=DISC), Writer(rewritten))

    assert first == "How often is it burnt? inside empty barrel programme"


def test_a_question_that_stands_alone_gets_faithful_variants_only() -> None:
    question = "How long do the fans run after a red alarm?"
    variants = (
        f"1. For how much time do the fans run after a red alarm?\n\n2. {question}\nHow long do fans run in Lyon?"
    )

    found = queries(Asked(question), Writer(variants=variants))

    assert found == [question, "For how much time do the fans run after a red alarm?"]
