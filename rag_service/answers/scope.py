"""In words: what was searched, and under which conditions."""

from collections.abc import Sequence, Sized
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

from rag_service.index.generation import Manifest


@runtime_checkable
class Selecting(Protocol):
    """A generation that can say which of its passages meet a condition."""

    def select(self, where: Any) -> Sized: ...


def searched(generation: Any, where: Any) -> str:
    """Such as "Searched 132 passages of 16 documents", "Searched 40 of 132 passages, in topic 'x'"."""
    manifest: Manifest = generation.manifest
    if where is None:
        return f"Searched {_counted(manifest.chunks, 'passage')} of {_counted(manifest.documents, 'document')}"
    among = _counted(manifest.chunks, "passage")
    if isinstance(generation, Selecting):
        among = f"{len(generation.select(where)):,} of {among}"
    return f"Searched {among}, {described(where)}"


def described(where: Any) -> str:
    """A condition of `rag_service.index.filters` in words."""
    match type(where).__name__:
        case "AnyOf":
            return f"in {_named(where.field)} {_either([repr(str(value)) for value in where.values])}"
        case "DateRange":
            bounds = [f"{word} {day}" for word, day in (("from", where.start), ("to", where.end)) if day is not None]
            return f"dated {' '.join(bounds)}"
        case "And" | "Or" as kind:
            parts = [described(part) for part in _parts(where)]
            return f" {kind.lower()} ".join(f"({part})" if " or " in part and kind == "And" else part for part in parts)
        case "Not":
            return f"not ({' '.join(described(part) for part in _parts(where))})"
    return f"where {where}"


def _parts(where: Any) -> list[Any]:
    """The conditions that a condition is made of."""
    values = [getattr(where, field.name) for field in fields(where)]
    return [part for value in values for part in (value if isinstance(value, tuple | list) else (value,))]


def _named(field: str) -> str:
    return field.removeprefix("metadata.")


def _either(values: Sequence[str]) -> str:
    return " or ".join(sorted(values))


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
