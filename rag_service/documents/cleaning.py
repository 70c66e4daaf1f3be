"""From the text that a reader extracted to the text that is chunked, quoted and pointed into.

One pass for documents and, as `clean_query`, for questions, so that both meet the embedder in the same form.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product

CELL = " | "
_LIST_ITEM = re.compile(r"^(?:[-*•\u2013‣◦▪]\s|\(?(?:\d{1,3}|[a-z])[.)](?:\s|(?=[^\W\d_]\w)))")
_PAGE_NUMBER = re.compile(
    r"^[-\u2013\u2014\s]*(?:(?:page|seite|p\.)\s*)?\d{1,4}(?:\s*(?:/|of|von|de)\s*\d{1,4})?[-\u2013\u2014\s]*$", re.I
)
_HYPHENATED = re.compile(r"([^\W\d_]+)-$")
_STARTS_LOWER = re.compile(r"([^\W\d_]+)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_BLANKS = re.compile(r"[^\S\n]+")
_FIGURES = re.compile(r"(?<!\d)(\d{1,4})(?!\d)", re.ASCII)
_MOST_FIGURES = 8
_EDGE_LINES = 3
_LEAST_PAGES = 3
# A line that had room for the next word was broken on purpose, not by the width of the page; letters differ in width.
_FULL_SHARE = 0.85
_NEWLINES = str.maketrans({"\r": "\n", "\x0b": "\n", "\x0c": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n"})
# Invisible marks that break words for a tokenizer. The joiners stay: some scripts are spelt with them.
_INVISIBLE = dict.fromkeys([0x200B, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


@dataclass(frozen=True)
class CleanText:
    """Text with one paragraph, list item or table row to a line, and where its pages begin."""

    text: str
    page_starts: tuple[int, ...]
    """Character offset of each page, ascending, the first 0; empty where the format has no pages."""

    def page_at(self, offset: int) -> int | None:
        """Number, from 1, of the page that holds the character at `offset`."""
        return bisect_right(self.page_starts, offset) or None

    def page_breaks(self, start: int, end: int) -> tuple[int, ...]:
        """Where between `start` and `end` further pages begin, counted from `start`; an empty page begins there too."""
        first, last = bisect_right(self.page_starts, start), bisect_left(self.page_starts, end)
        return tuple(at - start for at in self.page_starts[first:last])


def clean(pages: Sequence[str], paged: bool) -> CleanText:
    """Clean the pages of one document and join them; sentences that run over a page break are made whole."""
    lines = [_characters(page).split("\n") for page in pages]
    lines = [[_BLANKS.sub(" ", line).strip() for line in page] for page in lines]
    if paged:
        lines = _without_running_heads(lines)
    hyphenated = _hyphenated_words(lines)
    parts: list[str] = []
    starts, length = [], 0
    for page in lines:
        body = _paragraphs(page, hyphenated)
        if parts and body:
            last = parts[-1]
            parts[-1], glue = _page_joint(last, body, hyphenated)
            parts.append(glue)
            length += len(parts[-2]) - len(last) + len(glue)
        starts.append(length)
        if body:
            parts.append(body)
            length += len(body)
    # A word joined over an empty page lost its hyphen after that page's start was noted.
    ascending = tuple(accumulate(reversed(starts), min))[::-1]
    return CleanText("".join(parts), ascending if paged else ())


def clean_query(text: str) -> str:
    """A question in the form that cleaned documents have, on one line."""
    return " ".join(_characters(text).replace(CELL, " ").split())


def _characters(text: str) -> str:
    """NFC; no control, invisible or unpaired characters, and no soft hyphens; one kind of line break."""
    text = text.replace("\r\n", "\n").translate(_NEWLINES)
    text = text.replace("\u00ad\n", "").replace("\u00ad", "").translate(_INVISIBLE)
    text = "".join(c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs") else " " for c in text)
    return unicodedata.normalize("NFC", text)


def _without_running_heads(pages: list[list[str]]) -> list[list[str]]:
    """Drop lines at the edges of pages that are page numbers, or that most pages share but for the page's number."""
    shared: Counter[str] = Counter()
    for number, page in enumerate(pages):
        shared.update(set().union(*(_shapes(page[at], number) for at in _edges(page))))
    filled = sum(1 for page in pages if any(page))
    repeated = {shape for shape, count in shared.items() if filled >= _LEAST_PAGES and count * 2 > filled}
    kept = []
    for number, page in enumerate(pages):
        drop = {
            at
            for at in _edges(page)
            if _PAGE_NUMBER.match(page[at]) or not repeated.isdisjoint(_shapes(page[at], number))
        }
        kept.append([line for at, line in enumerate(page) if at not in drop])
    return kept


def _edges(page: list[str]) -> set[int]:
    filled = [at for at, line in enumerate(page) if line]
    return {*filled[:_EDGE_LINES], *filled[-_EDGE_LINES:]}


def _shapes(line: str, page: int) -> set[str]:
    """The line with each of its figures as it is or relative to the page's: a running page number keeps one shape."""
    parts = _FIGURES.split(line.casefold())
    choices = [
        (part, f"<page{int(part) - page:+d}>") if at % 2 and at < _MOST_FIGURES else (part,)
        for at, part in enumerate(parts)
    ]
    return {"".join(chosen) for chosen in product(*choices)}


def _hyphenated_words(pages: list[list[str]]) -> frozenset[str]:
    """Words that the document spells with a hyphen inside a line: those keep it at a line's end, too."""
    words = (word.casefold() for page in pages for line in page for word in _WORD.findall(line))
    return frozenset(word for word in words if "-" in word)


def _paragraphs(lines: list[str], hyphenated: frozenset[str]) -> str:
    """Blocks (between blank lines) with their wrapped lines joined, apart by a blank line; items of a list without."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line:
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    text = ""
    for block in filter(None, blocks):
        within_list = _LIST_ITEM.match(block[0]) and _LIST_ITEM.match(text.rpartition("\n")[2])
        text += ("\n" if within_list else "\n\n" if text else "") + _unwrapped(block, hyphenated)
    return text


def _unwrapped(block: list[str], hyphenated: frozenset[str]) -> str:
    widest = max(map(len, block))
    parts = [block[0]]
    for before, line in pairwise(block):
        had_room = len(before) + 1 + len(line.split(" ", 1)[0]) < _FULL_SHARE * widest
        own_line = had_room or CELL in line or CELL in before or _LIST_ITEM.match(line)
        if own_line:
            parts += ["\n", line]
        else:
            parts[-1], glue = _joint(parts[-1], line, hyphenated)
            parts += [glue, line]
    return "".join(parts)


def _joint(before: str, after: str, hyphenated: frozenset[str]) -> tuple[str, str]:
    """How two parts of a broken line go together: the first, less a hyphen that only marked the break, and the glue."""
    head, tail = _HYPHENATED.search(before), _STARTS_LOWER.match(after)
    if not head or not tail or not tail.group(1)[0].islower():
        return before, " "
    if f"{head.group(1)}-{tail.group(1)}".casefold() in hyphenated:
        return before, ""
    return before[:-1], ""


def _page_joint(before: str, after: str, hyphenated: frozenset[str]) -> tuple[str, str]:
    """How two pages go together: the end of the first page and the glue; a sentence that runs over is made whole."""
    rest, _, last = before.rpartition("\n")
    if last[-1] in ".!?:;…" or not after[0].islower() or CELL in last:
        return before, "\n\n"
    last, glue = _joint(last, after, hyphenated)
    return (f"{rest}\n{last}" if rest else last), glue
