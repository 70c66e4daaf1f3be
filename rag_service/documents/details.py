"""What a document says about itself beside its text: author, date, keywords. Bounded, for files hold garbage too."""

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rag_service.documents.cleaning import clean_query

MOST_KEYS = 16
MOST_KEY_CHARS = 40
MOST_VALUE_CHARS = 200
FIRST_DAY, LAST_DAY = datetime.date(1450, 1, 1), datetime.date(2100, 12, 31)
# What programs write where nobody gave a name.
_NAMES_OF_NOBODY = "unknown anonymous (anonymous) unspecified author admin administrator user python-docx none null"
_NOBODY = frozenset(_NAMES_OF_NOBODY.split())
_ISO = re.compile(r"^\W*(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)")
_PDF = re.compile(r"^\s*D:(\d{4})(\d{2})?(\d{2})?")
_COMPACT = re.compile(r"^\s*(\d{4})(\d{2})(\d{2})(?:T|$)")
_IN_WORDS = ("%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%B %d %Y", "%Y/%m/%d", "%d.%m.%Y")
_LONGEST_DATE_CHARS = 40


@dataclass(frozen=True)
class Details:
    """`metadata` has at most 16 keys of lower-case letters, digits and underscores, and values on one line."""

    author: str | None = None
    date: datetime.date | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> "Details":
        date = value.get("date")
        day = datetime.date.fromisoformat(date) if date else None
        return cls(value.get("author"), day, dict(value.get("metadata") or {}))

    def as_json(self) -> dict[str, Any]:
        """What is said, without what is not; the inverse of `of_json`."""
        date = self.date.isoformat() if self.date else None
        said = {"author": self.author, "date": date, "metadata": self.metadata}
        return {name: value for name, value in said.items() if value}

    def over(self, other: "Details") -> "Details":
        """What this says, and what the other says where this says nothing."""
        merged = {**other.metadata, **self.metadata}
        return Details(self.author or other.author, self.date or other.date, dict(sorted(merged.items())))


def details(author: object = None, date: object = None, entries: Iterable[tuple[str, object]] = ()) -> Details:
    """Details out of what a file holds; what is empty, garbage or too much is left out."""
    metadata: dict[str, str] = {}
    for name, value in entries:
        key, text = _key(name), _text(value)
        if key and text and len(metadata) < MOST_KEYS:
            metadata.setdefault(key, text)
    name = _text(author)
    return Details(None if name.casefold() in _NOBODY else name or None, date_of(date), metadata)


def date_of(value: object) -> datetime.date | None:
    """The day that a date, a time, or a text in one of the usual forms stands for; None where it is none."""
    if isinstance(value, datetime.datetime):
        value = value.date()
    if not isinstance(value, datetime.date):
        value = _parsed(str(value or "")[:_LONGEST_DATE_CHARS].strip())
    return value if value is not None and FIRST_DAY <= value <= LAST_DAY else None


def _parsed(text: str) -> datetime.date | None:
    found = _ISO.match(text) or _PDF.match(text) or _COMPACT.match(text)
    try:
        if found:
            return datetime.date(*(int(part or 1) for part in found.groups()))
    except ValueError:
        return None
    for form in _IN_WORDS:
        try:
            return datetime.datetime.strptime(text, form).date()  # noqa: DTZ007  a day has no zone
        except ValueError:
            continue
    return None


def _key(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip().casefold(), flags=re.ASCII).strip("_")[:MOST_KEY_CHARS]


def _text(value: object) -> str:
    if not isinstance(value, str | int | float):
        return ""
    return clean_query(str(value)[: 10 * MOST_VALUE_CHARS])[:MOST_VALUE_CHARS].strip()
