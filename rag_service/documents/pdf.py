"""PDF files, by PyPDF2, with rows of tables, headings and paragraphs told from where the text stands on the page."""

import io
import logging
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from PyPDF2 import PdfReader
from PyPDF2.errors import DependencyError, ParseError, PyPdfError

from cuvee.errors import UnreadableDocumentError
from rag_service.documents.cleaning import CELL
from rag_service.documents.details import Details, details
from rag_service.documents.extracted import Extracted

logging.getLogger("PyPDF2").setLevel(logging.ERROR)  # it warns about each oddity of each file

# PyPDF2 trusts the file's structure: what it does not check comes out as one of these.
_MALFORMED = (
    PyPdfError,
    ParseError,
    zlib.error,
    AssertionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)
_BROKEN = "The PDF is broken and cannot be read; try to open it and save it anew."
_SHOW_TEXT = (b"Tj", b"TJ")
_CHAR_WIDTH_EMS = 0.5
_CELL_GAP_EMS = 1.5
_CELL_GAP_SHARE = 0.12
_CELL_LEADING = 1.6
_MOST_CELL_LINES = 6
# The mark of a list item is often set apart from its text without a space.
_LIST_MARK = re.compile(r"^\s*(?:[-*\u2022\u2013\u25cf\u25e6\u25aa]|\(?(?:\d{1,3}|[a-z])[.)])\s*$")
_HEADING_SIZE = 1.12
_PARAGRAPH_GAP = 1.35


def extract(content: bytes) -> Extracted:
    """The text of each page.

    Raises:
        UnreadableDocumentError: broken, or protected by a password.
    """
    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableDocumentError("The PDF is protected by a password; save it without one.")
        pages = tuple(_page_text(page) for page in reader.pages)
        title = str(reader.metadata.get("/Title") or "") if reader.metadata else ""
    except DependencyError as error:
        raise UnreadableDocumentError(
            "The PDF is encrypted in a way that cannot be opened here (AES); save it without encryption."
        ) from error
    except _MALFORMED as error:
        raise UnreadableDocumentError(_BROKEN) from error
    if not pages:
        raise UnreadableDocumentError(_BROKEN)
    # Some programs leave the name of the file they printed from as the title.
    named_after_file = title.lower().endswith((".doc", ".docx", ".indd", ".tex", ".dvi"))
    return Extracted("" if named_after_file else title, pages, _details(reader))


def _details(reader: PdfReader) -> Details:
    try:
        said: Any = reader.metadata or {}
        entries = [(name, said.get(f"/{name.capitalize()}")) for name in ("subject", "keywords")]
        return details(said.get("/Author"), said.get("/CreationDate"), entries)
    except _MALFORMED:
        return Details()  # its pages are sound, which is what matters


@dataclass
class _Row:
    """Text at one height of the page; a table's row may have cells of several lines, and then reaches lower."""

    text: str
    x: float
    """Left edge of its last cell."""
    y: float
    size: float
    bold: bool
    closed: bool
    """Whether the line was ended after it; text that follows at the same height is another cell then."""
    low: float
    """Height of its lowest line."""
    last_chars: int
    """Length of the last cell."""

    def beside(self, other: "_Row") -> bool:
        return abs(self.y - other.y) <= 0.3 * max(self.size, other.size) and other.x >= self.x

    def wraps_into(self, other: "_Row") -> bool:
        """Whether `other` is the next line of the last cell."""
        return abs(other.x - self.x) < 1.0 and 0 < self.low - other.y <= _CELL_LEADING * self.size

    def take_line(self, other: "_Row") -> None:
        self.text = f"{self.text.rstrip()} {other.text.lstrip()}"
        self.low, self.last_chars, self.closed = other.low, len(other.text), other.closed

    def take(self, other: "_Row") -> None:
        """Add text at the same height: another cell where the gap is wide, or the rest of the line."""
        width = _CHAR_WIDTH_EMS * self.size * self.last_chars
        # Widths are estimated, so a gap must be wide, and wider after a long text, to part two cells.
        apart = other.x - self.x - width > _CELL_GAP_EMS * self.size + _CELL_GAP_SHARE * width
        glue = CELL if apart or self.closed else ""
        if _LIST_MARK.match(self.text):
            glue = " "
        if len(other.text) > len(self.text):
            self.size = other.size
        self.text = self.text.rstrip() + glue + other.text.lstrip() if glue else self.text + other.text
        self.bold, self.closed = self.bold and other.bold, other.closed
        if glue == CELL:
            self.x, self.low, self.last_chars = other.x, other.low, len(other.text)
        else:
            self.last_chars += len(other.text)


@dataclass
class _Layout:
    """Collects rows from PyPDF2's visitors.

    PyPDF2 hands text over after the position moved on, so the position is taken before each operator that shows text.
    """

    rows: list[_Row] = field(default_factory=list)
    _at: tuple[float, float, float] | None = None

    def before(self, operator: bytes, _: Any, cm: list[float], tm: list[float]) -> None:
        if operator in _SHOW_TEXT and self._at is None:
            self._at = _position(cm, tm)

    def text(self, text: str, cm: list[float], tm: list[float], font: Any, size: float) -> None:
        plain = text.strip("\n")
        if plain.strip():
            x, y, scale = self._at or _position(cm, tm)
            bold = "bold" in str((font or {}).get("/BaseFont", "")).lower()
            self._add(_Row(plain, x, y, abs(size * scale) or 1.0, bold, text.endswith("\n"), y, len(plain)))
        if text:
            self._at = None

    def _add(self, row: _Row) -> None:
        last = self.rows[-1] if self.rows else None
        if last and last.beside(row):
            last.take(row)
        elif last and CELL in last.text and last.wraps_into(row):
            last.take_line(row)
        elif cell := self._wrapped_cell(row):
            cell.take(row)
        else:
            self.rows.append(row)

    def _wrapped_cell(self, row: _Row) -> _Row | None:
        """The last rows made one where they turn out to be the lines of a first cell that `row` stands beside."""
        for lines in range(2, min(_MOST_CELL_LINES, len(self.rows)) + 1):
            first, *others = self.rows[-lines:]
            if not all(a.wraps_into(b) for a, b in pairwise([first, *others])):
                return None
            if first.beside(row) and row.x > first.x:
                del self.rows[-len(others) :]
                for line in others:
                    first.take_line(line)
                return first
        return None


def _position(cm: list[float], tm: list[float]) -> tuple[float, float, float]:
    """x, y and vertical scale of the text matrix within the page."""
    x = tm[4] * cm[0] + tm[5] * cm[2] + cm[4]
    y = tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
    return x, y, abs(tm[3] * cm[3]) + abs(tm[1] * cm[2])


def _page_text(page: Any) -> str:
    layout = _Layout()
    page.extract_text(visitor_operand_before=layout.before, visitor_text=layout.text)
    rows = layout.rows
    if not rows:
        return ""
    sizes: Counter[float] = Counter()
    for row in rows:
        sizes[round(row.size, 1)] += len(row.text)
    body = sizes.most_common(1)[0][0]
    gaps = Counter(round(a.y - b.y, 1) for a, b in pairwise(rows) if a.y > b.y and _alike(a, b))
    leading = gaps.most_common(1)[0][0] if gaps else 1.2 * body
    lines = [rows[0].text]
    for before, row in pairwise(rows):
        if _new_block(before, row, leading, body):
            lines.append("")
        lines.append(row.text)
    return "\n".join(lines)


def _alike(a: _Row, b: _Row) -> bool:
    return abs(a.size - b.size) < 0.1 * a.size


def _new_block(before: _Row, row: _Row, leading: float, body: float) -> bool:
    if CELL in before.text or CELL in row.text:
        return (CELL in before.text) != (CELL in row.text)
    heading = _is_heading(before, body) != _is_heading(row, body)
    return heading or not _alike(before, row) or not 0 < before.y - row.y <= _PARAGRAPH_GAP * leading


def _is_heading(row: _Row, body: float) -> bool:
    return row.size > _HEADING_SIZE * body or (row.bold and CELL not in row.text)
