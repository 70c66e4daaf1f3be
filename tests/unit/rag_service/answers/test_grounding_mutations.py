"""Sentences of the sample documents, changed at random: what is changed must lose its support, what is not keeps it."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_service.answers.claims import Claim
from rag_service.answers.grounding import supported_by
from rag_service.answers.words import STOP_WORDS, words
from rag_service.documents import sentences
from rag_service.documents.cleaning import clean
from rag_service.documents.markup import extract_markdown
from rag_service.index.rows import Chunk
from tests.hits import made_hit
from tests.unit.rag_service.answers.conftest import AgreeingEncoder

SAMPLE = Path(__file__).parents[4] / "data" / "sample" / "sources"
# Of changed sentences, at most this share may pass; some changes change nothing, or make no sense.
MOST_PASSING = 0.03
# Parts without which the rest says something else: a condition, the head of what follows, one end of a range.
LEFT_OUT = [
    re.compile(pattern, re.I)
    for pattern in (
        r",? \b(?:if|when|once(?! a)|until|unless|while|but|although)\b[^,;:.]+(?=[,;:.])",
        r"(?<=\bthe )[a-z]+ of (?:the )?",
        r"(?<=\d)(?: to |[-\u2013])\d+(?:[.,]\d+)*",
    )
]


def passages() -> list[str]:
    """Paragraphs of prose, three together."""
    found: list[str] = []
    for file in sorted(SAMPLE.glob("*.md")):
        text = clean(extract_markdown(file.read_bytes()).pages, paged=False).text
        prose = [p for p in text.split("\n\n") if " | " not in p and len(p) > 200]
        found += ["\n\n".join(prose[at : at + 3]) for at in range(0, len(prose), 3)]
    return found


def replaced(text: str, at: re.Match[str], by: str) -> str:
    return f"{text[: at.start()]}{by}{text[at.end() :]}"


def changes(sentence: str, passage: str, dice: random.Random) -> Iterator[tuple[str, str]]:
    numbers = list(re.finditer(r"\d+(?:[.,]\d+)*", sentence))
    others = [n for n in re.findall(r"\d+(?:[.,]\d+)*", passage) if n not in sentence]
    names = list(re.finditer(r"(?<=[a-z,] )[A-Z][a-zé]+\b", sentence))
    strangers = [w for w in words(passage) if w[0].isupper() and w.isalpha() and w not in sentence]
    strangers = [w for w in strangers if w.casefold() not in STOP_WORDS]
    plain = [m for m in re.finditer(r"\b[a-z]{4,}\b", sentence) if m.group() not in STOP_WORDS]
    unsaid = [w for w in re.findall(r"\b[a-z]{4,}\b", passage) if w not in STOP_WORDS and w not in sentence]
    verbs = list(re.finditer(r"\b(?:is|are|was|were|may|must|has|can)\b", sentence))
    if numbers:
        yield "an invented number", replaced(sentence, dice.choice(numbers), str(dice.randint(1001, 9999)))
    if numbers and others:
        yield "another number", replaced(sentence, dice.choice(numbers), dice.choice(others))
    if names and strangers:
        yield "another name", replaced(sentence, dice.choice(names), dice.choice(strangers))
    if plain and unsaid:
        yield "another word", replaced(sentence, dice.choice(plain), dice.choice(unsaid))
    parts = [part for pattern in LEFT_OUT for part in pattern.finditer(sentence)]
    if parts:
        yield "a part left out", replaced(sentence, dice.choice(parts), "")
    if verbs:
        verb = dice.choice(verbs)
        yield "a negation", replaced(sentence, verb, f"{verb.group()} not")
    other = dice.choice([passage[a:b] for a, b in sentences.split(passage)]).split()
    if " ".join(other) != sentence:
        half = sentence.split()[: len(sentence.split()) // 2]
        yield "halves of two sentences", " ".join([*half, *other[len(other) // 2 :]])


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[tuple[bool, str]]]:
    """By kind of change: whether each changed sentence has support, and the sentence."""
    dice, encoder = random.Random(20), AgreeingEncoder()
    found: dict[str, list[tuple[bool, str]]] = {}
    for passage in passages():
        hits = [made_hit(Chunk("c", "d", "t", "s", "Manual", "m.md", 0, None, 0, len(passage), passage), 1.0)]
        for start, end in sentences.split(passage):
            sentence = passage[start:end]
            if len(words(sentence)) < 8 or sentence.endswith("?"):
                continue
            for kind, text in [("nothing", sentence), *changes(sentence, passage, dice)]:
                supported = supported_by("?", Claim(text, ()), hits, encoder)
                found.setdefault(kind, []).append((supported is not None, text))
    return found


def test_every_sentence_supports_itself(outcomes: dict[str, list[tuple[bool, str]]]) -> None:
    assert len(outcomes["nothing"]) > 150
    assert [text for passed, text in outcomes["nothing"] if not passed] == []


@pytest.mark.parametrize(
    "kind",
    [
        "an invented number",
        "another number",
        "another name",
        "another word",
        "a negation",
        "a part left out",
        "halves of two sentences",
    ],
)
def test_a_changed_sentence_loses_its_support(kind: str, outcomes: dict[str, list[tuple[bool, str]]]) -> None:
    passing = [text for passed, text in outcomes[kind] if passed]

    assert len(outcomes[kind]) >= 40
    assert len(passing) <= MOST_PASSING * len(outcomes[kind]), passing
