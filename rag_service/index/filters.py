"""Which documents a question may be answered from: conditions, and how they come in as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cuvee.errors import InvalidInputError

_FIELDS = ("topic", "segment")


@dataclass(frozen=True)
class AnyOf:
    """The field has one of the values."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class And:
    """All of them hold."""

    conditions: tuple["Condition", ...]


Condition = AnyOf | And


def parse(value: Mapping[str, Any]) -> Condition:
    """`{"topic": "x"}` or `{"segment": ["a", "b"]}`; several keys are and-ed.

    Raises:
        InvalidInputError: it says what is wrong.
    """
    if not value:
        raise InvalidInputError("filter: it is empty; leave it out, or name a field.")
    conditions: list[Condition] = []
    for field, wanted in value.items():
        values = [wanted] if isinstance(wanted, str) else wanted
        if field not in _FIELDS:
            raise InvalidInputError(f"filter: there is no field '{field}'; known are {', '.join(_FIELDS)}.")
        if not isinstance(values, list) or not values or not all(isinstance(one, str) for one in values):
            raise InvalidInputError(f"filter: '{field}' takes a text or a list of texts.")
        conditions.append(AnyOf(field, tuple(values)))
    return conditions[0] if len(conditions) == 1 else And(tuple(conditions))


def place(topic: str | None, segment: str | None) -> Condition | None:
    conditions = [AnyOf(name, (value,)) for name, value in (("topic", topic), ("segment", segment)) if value]
    return (And(tuple(conditions)) if len(conditions) > 1 else conditions[0]) if conditions else None


def both(one: Condition | None, other: Condition | None) -> Condition | None:
    return And((one, other)) if one and other else one or other


def places(where: Condition | None) -> dict[str, str]:
    """The single topic and segment that are asked for."""
    if isinstance(where, And):
        return {name: value for part in where.conditions for name, value in places(part).items()}
    return {where.field: where.values[0]} if where else {}
