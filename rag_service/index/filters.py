"""Which rows a search looks at: conditions on what is known about a chunk, combined with and, or, not.

As JSON: `{"topic": "cellar"}`, `{"topic": ["cellar", "visits"]}`, `{"metadata.vintage": "2021"}`,
`{"date": {"from": "2026-01-01", "to": "2026-06-30"}}`, `{"and": [..]}`, `{"or": [..]}`, `{"not": {..}}`; several keys
are and-ed.
"""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cuvee.errors import InvalidInputError

FIELDS = ("topic", "segment", "source", "author", "document", "date")
METADATA = "metadata."
_COLUMNS = {"document": "document_id"}
_DEEPEST = 8
_MOST_CONDITIONS = 100
_MOST_VALUES = 1000
_MOST_VALUE_CHARS = 500


@dataclass(frozen=True)
class AnyOf:
    """The field has one of these values; a row without the field has none of them."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class DateRange:
    """The document's date lies between these days, both included; a document without a date never does."""

    start: datetime.date | None
    end: datetime.date | None


@dataclass(frozen=True)
class And:
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True)
class Or:
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True)
class Not:
    part: "Condition"


Condition = AnyOf | DateRange | And | Or | Not
Columns = Callable[[str], pa.ChunkedArray]


def place(topic: str | None, segment: str | None) -> Condition | None:
    """The condition that topic and segment are these, where they are given."""
    first = AnyOf("topic", (topic,)) if topic is not None else None
    return both(first, AnyOf("segment", (segment,)) if segment is not None else None)


def both(a: Condition | None, b: Condition | None) -> Condition | None:
    """`a` and `b`; None asks for nothing."""
    if a is None or b is None:
        return a if b is None else b
    return And((a, b))


def parse(value: Mapping[str, Any]) -> Condition:
    """A condition from its JSON form.

    Raises:
        InvalidInputError: it has another form; the message says where and what would be right.
    """
    return _Parser().condition(value, 1)


def matching(condition: Condition, columns: Columns) -> NDArray[np.bool_]:
    """Which rows match, shape (rows,); `columns(name)` is a column of `rows.SCHEMA`."""
    match condition:
        case AnyOf(name, values):
            return _plain(pc.is_in(_column(name, columns), pa.array(values, pa.string())))
        case DateRange(start, end):
            dates = columns("date")
            found = pc.is_valid(dates)
            if start is not None:
                found = pc.and_(found, pc.greater_equal(dates, pa.scalar(start, pa.date32())))
            if end is not None:
                found = pc.and_(found, pc.less_equal(dates, pa.scalar(end, pa.date32())))
            return _plain(found)
        case And(parts):
            return reduce(np.logical_and, (matching(part, columns) for part in parts))
        case Or(parts):
            return reduce(np.logical_or, (matching(part, columns) for part in parts))
        case Not(part):
            return np.logical_not(matching(part, columns))


def _column(name: str, columns: Columns) -> pa.ChunkedArray:
    if name.startswith(METADATA):
        return pc.map_lookup(columns("metadata"), query_key=name.removeprefix(METADATA), occurrence="first")
    return columns(_COLUMNS.get(name, name))


def _plain(found: pa.ChunkedArray) -> NDArray[np.bool_]:
    return cast("NDArray[np.bool_]", pc.fill_null(found, False).to_numpy().astype(np.bool_))


class _Parser:
    """Counts the conditions as it goes, so that no input can make a search expensive."""

    def __init__(self) -> None:
        self._conditions = 0

    def condition(self, value: Any, depth: int) -> Condition:
        if not isinstance(value, Mapping) or not value:
            raise InvalidInputError(f"A filter is an object with at least one of {_known()}; this is {_shown(value)}.")
        if depth > _DEEPEST:
            raise InvalidInputError(f"A filter may be nested {_DEEPEST} deep; this one goes deeper.")
        parts = tuple(self._part(str(name), inner, depth) for name, inner in value.items())
        return parts[0] if len(parts) == 1 else And(parts)

    def _part(self, name: str, value: Any, depth: int) -> Condition:
        self._conditions += 1
        if self._conditions > _MOST_CONDITIONS:
            raise InvalidInputError(f"A filter may have {_MOST_CONDITIONS} conditions; this one has more.")
        if name in ("and", "or"):
            if not isinstance(value, list) or not value:
                raise InvalidInputError(f"'{name}' takes a list of at least one filter; this is {_shown(value)}.")
            parts = tuple(self.condition(part, depth + 1) for part in value)
            return And(parts) if name == "and" else Or(parts)
        if name == "not":
            return Not(self.condition(value, depth + 1))
        if name == "date":
            return _date_range(value)
        if name in FIELDS or (name.startswith(METADATA) and len(name) > len(METADATA)):
            return AnyOf(name, _values(name, value))
        raise InvalidInputError(f"There is no filter {_shown(name)}; there are {_known()}.")


def _known() -> str:
    return f"{', '.join(FIELDS)}, {METADATA}<key>, and, or, not"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _values(name: str, value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) and len(one) <= _MOST_VALUE_CHARS for one in values):
        raise InvalidInputError(
            f"'{name}' takes a text of at most {_MOST_VALUE_CHARS} characters or a list of such; "
            f"this is {_shown(value)}."
        )
    if len(values) > _MOST_VALUES:
        raise InvalidInputError(f"'{name}' takes at most {_MOST_VALUES} values; these are {len(values)}.")
    return tuple(sorted(set(values)))


def _date_range(value: Any) -> DateRange:
    if not isinstance(value, Mapping) or not value or set(value) - {"from", "to"}:
        raise InvalidInputError(
            f'\'date\' takes {{"from": day, "to": day}} with one or both of them; this is {_shown(value)}.'
        )
    start, end = _day(value.get("from")), _day(value.get("to"))
    if start is not None and end is not None and start > end:
        raise InvalidInputError(f"'date' goes from {start} to {end}, which is backwards.")
    return DateRange(start, end)


def _day(value: Any) -> datetime.date | None:
    if value is None:
        return None
    try:
        return datetime.date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"A day is written like 2026-01-31; this is {_shown(value)}.") from error
