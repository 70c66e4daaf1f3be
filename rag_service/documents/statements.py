"""What of a chunk can stand as an answer: its sentences, each with its heading, leading line or table head."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag_service.documents import sentences
from rag_service.documents.cleaning import CELL

_LIST_ITEM = re.compile(r"(?:[-*•\u2013]|\(?\w{1,2}[.)])\s")


@dataclass(frozen=True)
class Statement:
    """One sentence, list item or table row of a chunk."""

    text: str
    """As it is quoted; a table row comes with the row of column names, on a line before it."""
    context: str
    """Heading, leading line; empty where there is none."""
    start: int
    """Span in the chunk's text of the sentence or row itself."""
    end: int

    @property
    def in_context(self) -> str:
        """What is compared with a question: a row or list item says little without what it stands under."""
        return f"{self.context}: {self.text}" if self.context else self.text


def statements(text: str, ordinal: int) -> list[Statement]:
    """What of a chunk can stand as an answer, in reading order: no headings, leading lines or column names.

    Args:
        text: of the chunk.
        ordinal: of the chunk in its document; a later one may begin in the middle of a table.
    """
    spans = sentences.split(text)
    lines = [" ".join(text[start:end].split()) for start, end in spans]
    found: list[Statement] = []
    heading, leading, columns = "", "", ""
    for position, (line, span) in enumerate(zip(lines, spans, strict=True)):
        if CELL in line:
            if _names_columns(lines, position, ordinal):
                columns = line
            else:
                found.append(Statement(f"{columns}\n{line}" if columns else line, _joined(heading, leading), *span))
            continue
        columns = ""
        if sentences.is_heading(line):
            heading, leading = line, ""
        elif sentences.leads_in(line):
            leading = line
        else:
            leading = leading if _LIST_ITEM.match(line) else ""
            found.append(Statement(line, _joined(heading, leading), *span))
    return found


def _names_columns(lines: Sequence[str], position: int, ordinal: int) -> bool:
    """Whether this row is the first of a table of several, and the table does not go on from the chunk before."""
    first = CELL not in lines[position - 1] if position else ordinal == 0
    return first and position + 1 < len(lines) and CELL in lines[position + 1]


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
