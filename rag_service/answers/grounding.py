"""Support: a drafted sentence stays only if a passage says it, and it cites the passages that do."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rag_service.answers.words import names, negated, numbers, squeezed, terms, words
from rag_service.documents import sentences
from rag_service.index.hybrid import Hit
from rag_service.index.rows import Chunk
from rag_service.index.search import Encoder

LEAST_TERMS_SHARE = 0.8
"""Share of a sentence's content terms that its evidence must have."""
LEAST_SIMILARITY = 0.6
"""Cosine between a sentence and its evidence."""
_FRAGMENT_WORDS = 4
"""Fewer words than this make an answer ("10 minutes"), not a statement that could be checked alone."""


@dataclass(frozen=True)
class Supported:
    """A sentence and the ranks (from 0) of the passages that support it, best first."""

    text: str
    ranks: tuple[int, ...]


def check(question: str, draft: Sequence[str], hits: Sequence[Hit], encoder: Encoder) -> list[Supported]:
    """The sentences of `draft` that have support, once each, in their order."""
    kept: dict[str, Supported] = {}
    for text in draft:
        key = squeezed(text)
        if not key or key in kept or text.rstrip().endswith("?"):
            continue
        fragment = len(words(text)) < _FRAGMENT_WORDS
        ranks = [] if fragment else [rank for rank, hit in enumerate(hits) if _says(hit.chunk.text, text)]
        if not ranks:
            claim = f"{question} {text}" if fragment else text
            ranks = [rank for rank, hit in enumerate(hits) if _supports(hit.chunk, text, claim, encoder)]
        if ranks:
            kept[key] = Supported(text, _places(ranks, hits))
    return list(kept.values())


def _says(passage: str, text: str) -> bool:
    """Whether the passage has these very words; of several lines (a table row under its column names), each."""
    return all(_has(squeezed(passage), squeezed(line)) for line in text.splitlines())


def _has(passage: str, line: str) -> bool:
    """Whether the line is there, not cut out of the middle of a word or figure."""
    start = -1
    while (start := passage.find(line, start + 1)) >= 0:
        end = start + len(line)
        opens = start == 0 or not (passage[start - 1].isalnum() and line[0].isalnum())
        closes = end == len(passage) or not (passage[end].isalnum() and line[-1].isalnum())
        if opens and closes:
            return True
    return False


def _supports(chunk: Chunk, text: str, claim: str, encoder: Encoder) -> bool:
    """Whether a sentence of the chunk, or two neighbours, carry the words, figures and sense of `text`.

    Names may stand anywhere in the chunk or its title, for documents name their subject once and then say "it".
    """
    if not names(text) <= set(terms(f"{chunk.title} {chunk.text}")) | names(chunk.title):
        return False
    evidence = [window for window in _windows(chunk.text) if _carries(window, chunk.title, text)]
    if not evidence:
        return False
    vectors = encoder.encode([claim, *evidence])
    return bool((vectors[1:] @ vectors[0]).max() >= LEAST_SIMILARITY)


def _windows(passage: str) -> list[str]:
    spans = sentences.split(passage)
    single = [passage[start:end] for start, end in spans]
    pairs = [passage[first[0] : second[1]] for first, second in pairwise(spans)]
    return single + pairs


def _carries(window: str, title: str, text: str) -> bool:
    wanted = set(terms(text))
    if not wanted or not numbers(text) <= numbers(window) or negated(text) != negated(window):
        return False
    return len(wanted & {*terms(window), *terms(title)}) >= LEAST_TERMS_SHARE * len(wanted)


def _places(ranks: Sequence[int], hits: Sequence[Hit]) -> tuple[int, ...]:
    """Ranks without those that only repeat, by overlap, the place that a better one shows."""
    kept: list[int] = []
    for rank in ranks:
        chunk = hits[rank].chunk
        if not any(_overlap(chunk, hits[other].chunk) for other in kept):
            kept.append(rank)
    return tuple(kept)


def _overlap(one: Chunk, other: Chunk) -> bool:
    same = one.document_id == other.document_id
    return same and one.start_char < other.end_char and other.start_char < one.end_char
