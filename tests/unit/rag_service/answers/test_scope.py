"""What was searched, in words."""

import datetime
from dataclasses import dataclass
from typing import Any

import pytest

from rag_service.answers import scope
from rag_service.index.generation import Manifest


@dataclass(frozen=True)
class AnyOf:
    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class DateRange:
    start: datetime.date | None
    end: datetime.date | None


@dataclass(frozen=True)
class And:
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Not:
    part: Any


TOPIC = AnyOf("topic", ("cellar",))
SINCE = DateRange(datetime.date(2024, 1, 31), None)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (TOPIC, "in topic 'cellar'"),
        (AnyOf("metadata.vintage", ("2022", "2021")), "in vintage '2021' or '2022'"),
        (SINCE, "dated from 2024-01-31"),
        (DateRange(datetime.date(2024, 1, 1), datetime.date(2024, 2, 1)), "dated from 2024-01-01 to 2024-02-01"),
        (And((TOPIC, AnyOf("segment", ("gas",)))), "in topic 'cellar' and in segment 'gas'"),
        (And((Or((TOPIC, SINCE)), SINCE)), "(in topic 'cellar' or dated from 2024-01-31) and dated from 2024-01-31"),
        (Not(TOPIC), "not (in topic 'cellar')"),
    ],
)
def test_a_condition_is_said_in_words(where: Any, words: str) -> None:
    assert scope.described(where) == words


@dataclass
class Generation:
    manifest: Manifest

    def select(self, where: Any) -> list[int]:
        return [1, 2, 3] if where == TOPIC else []


def manifest(chunks: int = 1320, documents: int = 16) -> Manifest:
    return Manifest(
        number=1, embedder="e", embedder_version="e@1", dimension=2, documents=documents, chunks=chunks,
        chunker="s", refusal_threshold=0.4, files={},
    )  # fmt: skip


def test_counts_are_those_of_the_generation_and_of_what_meets_the_condition() -> None:
    assert scope.searched(Generation(manifest()), None) == "Searched 1,320 passages of 16 documents"
    assert scope.searched(Generation(manifest(1, 1)), None) == "Searched 1 passage of 1 document"
    assert scope.searched(Generation(manifest()), TOPIC) == "Searched 3 of 1,320 passages, in topic 'cellar'"
