"""The sentences of passages, each with what it stands under: its heading, the line that leads its list, its table."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rag_service.answers.words import squeezed, terms
from rag_service.documents import sentences
from rag_service.documents.cleaning import CELL
from rag_service.index.generation import Chunk, Hit

_LIST_ITEM = re.compile(r"(?:[-*•\u2013]|\(?\w{1,2}[.)])\s")


@dataclass(frozen=True)
class Candidate:
    """One sentence or table row of one passage."""

    rank: int
    """Of its passage, from 0."""
    position: int
    """In its passage, from 0."""
    text: str
    """As it is quoted; a table row comes with the row of column names, on a line before it."""
    context: str
    """Heading, leading line; empty where there is none."""
    terms: frozenset[str] = field(default_factory=frozenset)

    @property
    def in_context(self) -> str:
        """What is compared with the question: a row or list item says little without what it stands under."""
        return f"{self.context}: {self.text}" if self.context else self.text


def candidates(hits: Sequence[Hit]) -> list[Candidate]:
    """Every sentence of the passages once, in reading order by passage."""
    found: dict[str, Candidate] = {}
    for rank, hit in enumerate(hits):
        for position, text, context in _statements(hit.chunk):
            found.setdefault(squeezed(text), Candidate(rank, position, text, context, frozenset(terms(text))))
    return list(found.values())


def _statements(chunk: Chunk) -> Iterator[tuple[int, str, str]]:
    """Position, text and context of what can stand as an answer: no headings, leading lines or column names."""
    lines = [" ".join(chunk.text[start:end].split()) for start, end in sentences.split(chunk.text)]
    heading, leading, columns = "", "", ""
    for position, line in enumerate(lines):
        if CELL in line:
            if _names_columns(lines, position, chunk):
                columns = line
            else:
                yield position, f"{columns}\n{line}" if columns else line, _joined(heading, leading)
            continue
        columns = ""
        if sentences.is_heading(line):
            heading, leading = line, ""
        elif line.endswith(":"):
            leading = line
        else:
            leading = leading if _LIST_ITEM.match(line) else ""
            yield position, line, _joined(heading, leading)


def _names_columns(lines: Sequence[str], position: int, chunk: Chunk) -> bool:
    """Whether this row is the first of a table of several, and the table does not go on from the chunk before."""
    first = CELL not in lines[position - 1] if position else chunk.ordinal == 0
    return first and position + 1 < len(lines) and CELL in lines[position + 1]


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
