"""What of a passage can carry a claim: its sentences with what they stand under, and its table rows. With spans."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rag_service.answers.quantities import quantities
from rag_service.answers.support import refers_back, says
from rag_service.documents import sentences
from rag_service.documents.cleaning import CELL
from rag_service.index.rows import Chunk

# Text that speaks to a language model instead of its reader. It is quoted like any other, but carries no claim.
_TO_THE_MODEL = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|prompts?|rules|everything|above|previous)\b"
    r"|\b(?:system prompt|as an ai|language model|you are (?:now )?(?:an? )?(?:ai|assistant|chatbot))\b"
    r"|^\W*(?:assistant|system|user)\s*:"
    r"|\b(?:say|answer|reply|respond|output|print|repeat|write)\s+(?:only|exactly|that|with|to the user|the words?)\b"
    r"|\b(?:say|answer|reply|respond|output|print|repeat)\s*:",
    re.I,
)


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` of a passage's text."""

    start: int
    end: int


@dataclass(frozen=True)
class Piece:
    """One sentence or table row of a passage."""

    span: Span
    text: str
    around: str
    """Title, heading and, where the sentence refers back, the sentence before: names and words may stand there."""
    columns: tuple[str, ...] = ()
    """Names of a table row's columns."""

    def says(self, claim: str) -> bool:
        return says(claim, self.text, self._around(claim))

    def _around(self, claim: str) -> str:
        """Of column names only those under which the claim's figures stand: a figure belongs to its column."""
        cells = self.text.split(CELL)
        if len(cells) != len(self.columns):
            return self.around
        figures = {quantity.number for quantity in quantities(claim)}
        used = [
            name
            for at, (name, cell) in enumerate(zip(self.columns, cells, strict=True))
            if at == 0 or figures & {quantity.number for quantity in quantities(cell)}
        ]
        return " ".join([self.around, *used])


def pieces(chunk: Chunk) -> Iterator[Piece]:
    """In reading order; headings, column names and text that speaks to a model are none."""
    heading, before, columns = "", "", ""
    hostile = speaking(chunk.text)
    for start, end in sentences.split(chunk.text):
        text = " ".join(chunk.text[start:end].split())
        if CELL in text and CELL not in before:
            columns, before = text, text
            continue
        columns = columns if CELL in text else ""
        if sentences.is_heading(text):
            heading, before = text, ""
            continue
        if Span(start, end) not in hostile:
            linked = refers_back(text) or before.endswith(":")
            around = " ".join(part for part in (chunk.title, heading, before if linked else "") if part)
            yield Piece(Span(start, end), text, around, tuple(columns.split(CELL)) if columns else ())
        before = text


def speaking(passage: str) -> list[Span]:
    """The sentences that speak to a language model, and the one after each, in which an order often goes on."""
    found: list[Span] = []
    speaks = False
    for start, end in sentences.split(passage):
        before, speaks = speaks, bool(_TO_THE_MODEL.search(passage, start, end))
        if speaks or before:
            found.append(Span(start, end))
    return found


def verbatim(passage: str, text: str) -> tuple[Span, ...]:
    """Where the passage has these very words as whole sentences; of several lines (a table row under its column
    names) each. Empty where it does not."""
    whole = sentences.split(passage)
    starts, ends = {start for start, _ in whole}, {end for _, end in whole}
    found = [_line(passage, line, starts, ends) for line in text.splitlines() if line.strip()]
    return tuple(span for span in found if span) if found and all(found) else ()


def _line(passage: str, line: str, starts: set[int], ends: set[int]) -> Span | None:
    wanted = r"\s+".join(map(re.escape, line.split()))
    for match in re.finditer(wanted, passage, re.I):
        rest = passage[match.end() : match.end() + 1]
        ended = match.end() in ends or (rest in (".", "!", "?") and match.end() + 1 in ends)
        if match.start() in starts and ended:
            return Span(match.start(), match.end())
    return None
