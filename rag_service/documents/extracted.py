"""What the reader of one format returns, and how all of them write a table."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from rag_service.documents.cleaning import CELL
from rag_service.documents.details import Details

_POWER = re.compile(r"[-+\u2212\u2013]?\d+\s*$")
_MARK = re.compile(r"[-+\u2212\u2013(]?\d")
_LENGTH = re.compile(r"(?<![^\W_])[cdkm]?m$")


@dataclass(frozen=True)
class Extracted:
    """Text of one document as its format holds it: blocks apart by a blank line, tables one row to a line."""

    title: str
    pages: tuple[str, ...]
    details: Details = field(default_factory=Details)


def table_row(cells: Iterable[str]) -> str:
    """`a | b | c`, each cell on one line; empty when all cells are."""
    texts = [" ".join(cell.split()) for cell in cells]
    return CELL.join(text for text in texts if text) if any(texts) else ""


def raised(before: str, text: str) -> str:
    """A superscript as it is written on the line after `before`, so that it changes no figure there.

    A power of a figure is `10^6`, and a signed one of anything (`s^-1`), as no note has such a mark; the power of a
    length stays at it (`m2`), as it is typed. Other figures mark notes and are set apart by a blank.
    """
    mark = text.lstrip()
    if not before or before[-1].isspace() or not _MARK.match(mark):
        return text
    if _POWER.match(mark) and (before[-1].isdigit() or not mark[0].isdigit()):
        return f"^{mark}"
    return mark if mark.rstrip() in ("2", "3") and _LENGTH.search(before[-8:]) else f" {mark}"
