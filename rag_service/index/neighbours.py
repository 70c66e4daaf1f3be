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
        at = len(found)
        found.append(hit)
        # What was joined may reach another one that neither of its parts did.
        while (beside := _beside(found, at, most_chars)) is not None:
            at, gone = sorted((at, beside))
            found[at] = _joined(found[at], found.pop(gone))
    return found


def _beside(hits: Sequence[Hit], at: int, most_chars: int) -> int | None:
    chunk = hits[at].chunk
    places = (n for n, hit in enumerate(hits) if n != at and _touch(hit.chunk, chunk, most_chars))
    return next(places, None)


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
    place |= {"page_breaks": _page_breaks(first.chunk, second.chunk)}
    return replace(better, chunk=replace(better.chunk, **place), matches=matches)


def _page_breaks(first: Chunk, second: Chunk) -> tuple[int, ...]:
    """Where further pages begin in the two together; where the second begins, its page is known in any case."""
    if first.page is None or second.page is None:
        return ()
    shift = second.start_char - first.start_char
    further = [(at, count) for count, at in enumerate(first.page_breaks, start=1)]
    starts = (0, *second.page_breaks)
    further += [(shift + at, count) for count, at in enumerate(starts, start=second.page - first.page)]
    breaks: list[int] = []
    for at, count in sorted(further):
        breaks += [at] * (count - len(breaks))
    return tuple(breaks)
