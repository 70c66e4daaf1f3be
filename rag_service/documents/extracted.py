"""What the reader of one format returns, and how all of them write a table."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rag_service.documents.cleaning import CELL
from rag_service.documents.details import Details


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
