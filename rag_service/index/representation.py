"""How chunks become vectors: one for the chunk, one for each of its statements.

A statement says little alone: "He was born in 911." Its vector is the mean of two unit vectors, of the statement
under its title and heading, and of the statement after the one before it; its product with a question's unit vector is
the mean of the two cosines. On eight articles of SQuAD 2.0 this put the answering sentence first for 73.6 % of the
questions, against 71.8 % with the sentence alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_service.documents.cleaning import CELL
from rag_service.documents.statements import Statement, statements

VERSION = "statements-1"

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Represented:
    """One chunk's unit vector, shape (dimension,), and its statements with theirs, shape (statements, dimension)."""

    vector: NDArray[np.float32]
    statements: list[Statement]
    statement_vectors: NDArray[np.float16]


@dataclass(frozen=True)
class Text:
    """What of a chunk takes part in its vectors."""

    title: str
    text: str
    ordinal: int


def represent(chunks: Sequence[Text], encode: Encode) -> list[Represented]:
    """Vectors of the chunks and their statements; every different text is encoded once.

    Args:
        chunks: of one batch.
        encode: texts to unit vectors, shape (texts, dimension).
    """
    said = [statements(chunk.text, chunk.ordinal) for chunk in chunks]
    views = [_views(chunk.title, found) for chunk, found in zip(chunks, said, strict=True)]
    # Chunks overlap, so sentences come twice.
    texts = [chunk.text for chunk in chunks] + [text for found in views for pair in found for text in pair]
    different = list(dict.fromkeys(texts))
    known = dict(zip(different, encode(different), strict=True)) if different else {}
    represented = []
    for chunk, found, pairs in zip(chunks, said, views, strict=True):
        vector = known[chunk.text]
        means = [(known[alone] + known[after]) / 2 for alone, after in pairs]
        packed = np.stack(means) if means else np.empty((0, len(vector)), dtype=np.float32)
        represented.append(Represented(vector, found, packed.astype(np.float16)))
    return represented


def _views(title: str, found: Sequence[Statement]) -> list[tuple[str, str]]:
    """The two texts whose vectors make a statement's vector."""
    views = []
    before = ""
    for statement in found:
        under = f"{title}: {statement.in_context}" if title else statement.in_context
        in_table = CELL in statement.text
        views.append((under, f"{before} {statement.text}" if before and not in_table else statement.in_context))
        before = "" if in_table else statement.text
    return views
