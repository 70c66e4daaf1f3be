"""Passages that were cut from one text side by side, put together again so that people and models read on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rag_service.documents.statements import Statement
from rag_service.index.hybrid import Hit, Match
from rag_service.index.rows import Chunk


def merged(hits: Sequence[Hit], most_chars: int = 4000) -> list[Hit]:
    """Hits whose passages overlap or touch in one document become one readable passage, ranked as the better one."""
    found: list[Hit] = []
    for hit in hits:
        place = next((at for at, other in enumerate(found) if _touch(other.chunk, hit.chunk, most_chars)), None)
        if place is None:
            found.append(hit)
        else:
            found[place] = _joined(found[place], hit)
    return found


def _touch(one: Chunk, other: Chunk, most_chars: int) -> bool:
    if one.document_id != other.document_id:
        return False
    gap = max(one.start_char, other.start_char) - min(one.end_char, other.end_char)
    return gap <= 0 and max(one.end_char, other.end_char) - min(one.start_char, other.start_char) <= most_chars


def _joined(better: Hit, other: Hit) -> Hit:
    first, second = sorted((better, other), key=lambda hit: hit.chunk.start_char)
    start, end = first.chunk.start_char, max(first.chunk.end_char, second.chunk.end_char)
    text = first.chunk.text + second.chunk.text[first.chunk.end_char - second.chunk.start_char :]
    said: dict[tuple[int, int], tuple[Statement, Match]] = {}
    for hit in (first, second):
        shift = hit.chunk.start_char - start
        for statement, match in zip(hit.chunk.statements, hit.matches, strict=True):
            moved = Statement(statement.text, statement.context, statement.start + shift, statement.end + shift)
            said.setdefault((moved.start, moved.end), (moved, match))
    in_order = [said[span] for span in sorted(said)]
    statements, matches = (tuple(column) for column in zip(*in_order, strict=True)) if in_order else ((), ())
    place: dict[str, Any] = {"ordinal": first.chunk.ordinal, "page": first.chunk.page}
    place |= {"start_char": start, "end_char": end, "text": text, "statements": statements}
    return replace(better, chunk=replace(better.chunk, **place), matches=matches)
