"""The front matter of a Markdown file: `key: value` lines between two rules, as site generators write them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rag_service.documents.details import Details, details

_BLOCK = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
_ENTRY = re.compile(r"^(\w[\w .-]{0,60}?)\s*:(?:\s+(.*?))?\s*$")
_ITEM = re.compile(r"^\s*-\s+(.*?)\s*$")
_COMMENT = re.compile(r"\s+#.*$")
_MOST_CHARS = 20_000
_AUTHOR, _DATE, _TITLE = ("author", "authors", "creator"), ("date", "published", "created"), ("title",)
_MARKS = "\"'"


@dataclass(frozen=True)
class FrontMatter:
    """`end` is the offset of the text after it; 0 where there is none."""

    title: str = ""
    details: Details = Details()  # noqa: RUF009  frozen
    end: int = 0


def front_matter(text: str) -> FrontMatter:
    """The front matter at the start of a text with line breaks of one kind."""
    block = _BLOCK.match(text[:_MOST_CHARS])
    lines = [line for line in block.group(1).split("\n") if line.strip()] if block else []
    if not block or not lines or not _ENTRY.match(lines[0]):
        return FrontMatter()  # a text may begin with a rule as well
    entries = dict(_entries(lines))
    by_name = {name.casefold(): value for name, value in entries.items()}
    others = [(name, value) for name, value in by_name.items() if name not in (*_AUTHOR, *_DATE, *_TITLE)]
    said = details(_first(by_name, _AUTHOR), _first(by_name, _DATE), others)
    return FrontMatter(by_name.get("title", ""), said, block.end())


def _entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Names and values; a list's items are one value, apart by commas. Nested maps and blocks of text are left out."""
    name, items = "", list[str]()
    for line in [*lines, "end:"]:
        if name and (item := _ITEM.match(line)):
            items.append(_plain(item.group(1)))
        elif entry := _ENTRY.match(line):
            if items:
                yield name, ", ".join(items)
            name, items = entry.group(1), []
            value = _value(entry.group(2) or "")
            if value:
                yield name, value
                name = ""


def _value(text: str) -> str:
    text = _plain(text)
    if text[:1] in ("|", ">", "{", "&", "*", "!"):
        return ""
    if text.startswith("[") and text.endswith("]"):
        return ", ".join(filter(None, map(_plain, text[1:-1].split(","))))
    return text


def _plain(text: str) -> str:
    """Without quotation marks, or without the comment that may stand behind an unquoted value."""
    text = text.strip()
    if text[:1] in _MARKS and text[:1]:
        return text[1:].partition(text[0])[0].strip()
    return _COMMENT.sub("", text).strip()


def _first(entries: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((entries[name] for name in names if name in entries), None)
