"""From the text that a reader extracted to the text that is chunked, quoted and pointed into.

One pass for documents and, as `clean_query`, for questions, so that both meet the embedder in the same form.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from typing import NamedTuple

CELL = " | "
_LIST_ITEM = re.compile(r"^(?:[-*•\u2013‣◦▪]\s|\(?(?:\d{1,3}|[a-z])[.)](?:\s|(?=[^\W\d_]\w)))")
_PAGE_WORD = re.compile(r"(?<!\w)(?:page|seite|p\.)\s*$")
_OF_ALL = re.compile(r"^\s*(?:/|of|von|de)\s*\d{1,4}(?!\d)")
_APART = " |-\u2013\u2014"
"""May part a page number from what stands beside it."""
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


class _Numbering(NamedTuple):
    """A line with one of its figures taken for the number of its page."""

    before: str
    ahead: int
    """The figure less the index of the page."""
    after: str

    @property
    def named(self) -> bool:
        """Whether the line itself says that it is a page's."""
        return bool(_PAGE_WORD.search(self.before))

    @property
    def rest(self) -> str:
        """What the line says but for the page number."""
        beside = _PAGE_WORD.sub("", self.before).strip(_APART), _OF_ALL.sub("", self.after).strip(_APART)
        return " ".join(filter(None, beside))


def _without_running_heads(pages: list[list[str]]) -> list[list[str]]:
    """Drop page numbers at the edges of pages, and what most pages repeat there, but for the first page.

    There it may be the title. On a later page it may well stand in the midst of a sentence.
    """
    edges = [{at: page[at].casefold() for at in _edges(page)} for page in pages]
    heads, numberings = _running(edges)
    alone = {line.casefold() for page in pages for line in page}
    said: set[str] = set()
    first = next((index for index, lines in enumerate(edges) if lines), 0)
    kept = []
    for index, (page, lines) in enumerate(zip(pages, edges, strict=True)):
        numbers, repeats = set(), set()
        for at, line in lines.items():
            numbering = next((one for one in _numberings(line, index) if one in numberings), None)
            text = numbering.rest if numbering else line
            if not text:
                numbers.add(at)
            elif text in said or (numbering and text in alone):
                repeats.add(at)
            elif numbering or line in heads:
                said |= {text, *text.split(CELL)}
                if index > first:
                    repeats.add(at)
        # A page of nothing but such lines is a form that was filled in like the others.
        filled = {at for at, line in enumerate(page) if line}
        drop = next((some for some in (numbers | repeats, numbers) if filled - some), set())
        kept.append([line for at, line in enumerate(page) if at not in drop])
    return kept


def _running(edges: list[dict[int, str]]) -> tuple[set[str], set[_Numbering]]:
    """Lines that most pages have at their edges, and those that they have but for the page's number.

    A heading like "Tank 3" may well be on page 3: a figure beside a text is the page's only where the line names it so,
    or where the text is a running head without it.
    """
    repeated, numbered = Counter[str](), Counter[_Numbering]()
    for index, lines in enumerate(edges):
        numberings = {line: set(_numberings(line, index)) for line in lines.values()}
        repeated.update(line for line, taken in numberings.items() if all(one.rest for one in taken))
        numbered.update(set().union(*numberings.values()))
    filled = sum(1 for lines in edges if lines)
    heads = {line for line, count in repeated.items() if filled >= _LEAST_PAGES and count * 2 > filled}
    texts = heads.union(*(head.split(CELL) for head in heads))
    return heads, {
        one
        for one, count in numbered.items()
        if count * 2 > filled and (one.named or (count > 1 and (not one.rest or one.rest in texts)))
    }


def _edges(page: list[str]) -> list[int]:
    """Where the first and the last lines are."""
    filled = [at for at, line in enumerate(page) if line]
    return sorted({*filled[:_EDGE_LINES], *filled[-_EDGE_LINES:]})


def _numberings(line: str, index: int) -> Iterator[_Numbering]:
    for figure in islice(_FIGURES.finditer(line), _MOST_FIGURES):
        yield _Numbering(line[: figure.start()], int(figure.group()) - index, line[figure.end() :])


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
