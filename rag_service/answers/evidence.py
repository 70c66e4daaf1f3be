"""What of a passage can carry a claim: its sentences with what they stand under, and its table rows. With spans."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from rag_service.answers.quantities import quantities
from rag_service.answers.support import refers_back, row_says, says, stands_alone
from rag_service.answers.words import squeezed, unmarked_cut
from rag_service.documents import sentences
from rag_service.documents.cleaning import CELL

# Text that speaks to a language model instead of its reader. It is quoted like any other, but carries no claim.
_TO_THE_MODEL = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|prompts?|rules|everything|above|previous)\b"
    r"|\b(?:system prompt|as an ai|language model|you are (?:now )?(?:an? )?(?:ai|assistant|chatbot))\b"
    r"|^\W*(?:assistant|system|user)\s*:"
    r"|\b(?:answer|reply|respond)\s+(?:only|exactly|to every question)\b",
    re.I,
)
# A cut leaves out the comma that it ends at.
_WORD_ENDS = re.compile(r"[,;:]?(?:\s|\Z)")


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` of a passage's text."""

    start: int
    end: int


@dataclass(frozen=True)
class Quotation:
    """Words of a passage as an answer quotes them, and where they were taken from, where that is known."""

    text: str
    rank: int | None = None
    """Of the passage, from 0."""
    span: Span | None = None
    """Of the sentence or row that they are of."""

    def within(self, rank: int) -> Span | None:
        """Its place in the passage of this rank, if it is of that one."""
        return self.span if self.rank == rank else None


@dataclass(frozen=True)
class Piece:
    """One sentence or table row of a passage."""

    span: Span
    text: str
    around: str
    """Title, heading and, where the sentence refers back, the sentence before: names and words may stand there."""
    columns: tuple[str, ...] = ()
    """Names of a table row's columns."""

    def has(self, words: str) -> bool:
        """Whether it is a sentence with these very words in a row, which mean the same without the rest of it."""
        quoted = unmarked_cut(words)
        stands = _in_a_row(_squeezed(quoted), _squeezed(self.text))
        return stands and CELL not in self.text and stands_alone(quoted, self.text)

    def says(self, claim: str) -> bool:
        cells = self.text.split(CELL)
        if len(cells) != len(self.columns):
            return says(claim, self.text, self.around)
        # A figure belongs to its column, so that no other column's name may stand beside it.
        figures = {quantity.number for quantity in quantities(claim)}
        used = [
            name
            for at, (name, cell) in enumerate(zip(self.columns, cells, strict=True))
            if at == 0 or figures & {quantity.number for quantity in quantities(cell)}
        ]
        return row_says(claim, self.text, " ".join(used), self.around)


@lru_cache(maxsize=256)
def pieces(title: str, passage: str) -> tuple[Piece, ...]:
    """In reading order; headings, column names and text that speaks to a model are none."""
    return tuple(_pieces(title, passage))


def holding(title: str, passage: str, cut: str) -> list[Piece]:
    """The pieces that have these very words; quick where the passage does not."""
    if _squeezed(unmarked_cut(cut)) not in _squeezed(passage):
        return []
    return [piece for piece in pieces(title, passage) if piece.has(cut)]


def _pieces(title: str, passage: str) -> Iterator[Piece]:
    heading, before, columns = "", "", ""
    hostile = speaking(passage)
    for start, end in _spans(passage):
        text = " ".join(passage[start:end].split())
        if CELL in text and CELL not in before:
            columns, before = text, text
            continue
        columns = columns if CELL in text else ""
        if sentences.is_heading(text):
            heading, before = text, ""
            continue
        if Span(start, end) not in hostile:
            linked = refers_back(text) or sentences.leads_in(before)
            around = " ".join(part for part in (title, heading, before if linked else "") if part)
            yield Piece(Span(start, end), text, around, tuple(columns.split(CELL)) if columns else ())
        before = text


def speaking(passage: str) -> list[Span]:
    """The sentences that speak to a language model, and the one after each, in which an order often goes on."""
    found: list[Span] = []
    speaks = False
    for start, end in _spans(passage):
        before, speaks = speaks, bool(_TO_THE_MODEL.search(passage, start, end))
        if speaks or before:
            found.append(Span(start, end))
    return found


def verbatim(passage: str, text: str, place: Span | None = None) -> tuple[Span, ...]:
    """Where the passage has these very words as whole sentences; of several lines (a table row under its column
    names) each. Empty where it does not.

    Words that stand there more than once are those at `place`; a line is the last one before the line after it.
    """
    found: list[Span] = []
    for line in reversed([line for line in text.splitlines() if line.strip()]):
        span = _line(passage, line, place, before=found[0].start if found else len(passage))
        if span is None:
            return ()
        found.insert(0, span)
        place = None
    return tuple(found)


def _line(passage: str, line: str, place: Span | None, before: int) -> Span | None:
    if squeezed(line) not in _squeezed(passage):
        return None
    starts, ends = _edges(passage)
    found: Span | None = None
    for span in _occurrences(line.strip(), passage):
        rest = passage[span.end : span.end + 1]
        ended = span.end in ends or (rest in sentences.STOPS and span.end + 1 in ends)
        if span.end > before or span.start not in starts or not ended:
            continue
        if before < len(passage):
            found = span if found is None or span.start > found.start else found
        elif place is None or touch(span, place):
            return span
        else:
            found = found or span
    return found


def touch(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def _occurrences(line: str, passage: str) -> Iterator[Span]:
    """Where the line stands: letter by letter first, which needs no pattern and is what a quotation is as a rule."""
    at = passage.find(line)
    while at >= 0:
        yield Span(at, at + len(line))
        at = passage.find(line, at + 1)
    if _squeezed(passage).count(squeezed(line)) == passage.count(line):
        return
    for match in _spelt(line).finditer(passage):
        yield Span(match.start(), match.end())


def _in_a_row(quoted: str, text: str) -> bool:
    """Whether `quoted` stands in `text` as whole words."""
    at = text.find(quoted)
    while at >= 0:
        if (not at or text[at - 1] == " ") and _WORD_ENDS.match(text, at + len(quoted)):
            return True
        at = text.find(quoted, at + 1)
    return False


_squeezed = lru_cache(maxsize=1024)(squeezed)
_spans = lru_cache(maxsize=256)(sentences.split)


@lru_cache(maxsize=256)
def _spelt(line: str) -> re.Pattern[str]:
    return re.compile(r"\s+".join(map(re.escape, line.split())), re.I)


@lru_cache(maxsize=256)
def _edges(passage: str) -> tuple[frozenset[int], frozenset[int]]:
    """Where the sentences of a passage start, and where they end."""
    spans = _spans(passage)
    return frozenset(start for start, _ in spans), frozenset(end for _, end in spans)
