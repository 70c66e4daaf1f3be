"""Golden sets: questions whose right passage or document, and answer, are known, and questions that have none.

Three forms are read: our own (a list of `{question, answerable, document, answers}`; documents are named by
`topic/segment/uri` of what is indexed), SQuAD's JSON, and a BEIR folder (`corpus.jsonl`, `queries.jsonl`,
`qrels/*.tsv`). The last two bring their own passages, which are indexed apart.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from cuvee.errors import InvalidInputError

NO_GROUP = "none"
"""Group of the questions that are about no document."""


@dataclass(frozen=True)
class Passage:
    """One passage that a golden set brings along."""

    passage_id: str
    document: str
    title: str
    text: str


@dataclass(frozen=True)
class Case:
    """One question and what is right."""

    question: str
    answerable: bool
    relevant: frozenset[str]
    """Passage ids; with our own form, names of documents."""
    answers: tuple[str, ...]
    """Any of these is a right answer."""
    group: str
    """Topic, article or corpus; results are given for each."""


@dataclass(frozen=True)
class GoldenSet:
    """Cases; with passages of their own, or (None) about what is indexed."""

    name: str
    cases: tuple[Case, ...]
    passages: tuple[Passage, ...] | None


class _OwnCase(BaseModel):
    question: str
    answerable: bool
    document: str | None = None
    answers: list[str] = []


def load(path: Path) -> GoldenSet:
    """Read a golden set in whichever of the forms it is.

    Raises:
        InvalidInputError: it is in none of them; the message says what is wrong.
    """
    try:
        if path.is_dir():
            return _beir(path)
        content = json.loads(path.read_text())
        if isinstance(content, dict):
            return _squad(path.stem, content)
        return _own(path.stem, TypeAdapter(list[_OwnCase]).validate_python(content))
    except FileNotFoundError as error:
        raise InvalidInputError(f"{error.filename} is not there.") from error
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is no golden set in our own, SQuAD's or BEIR's form: {type(error).__name__}: {error}"
        ) from error


def _own(name: str, cases: list[_OwnCase]) -> GoldenSet:
    return GoldenSet(
        name,
        tuple(
            Case(
                case.question,
                case.answerable,
                frozenset([case.document] if case.document and case.answerable else []),
                tuple(case.answers),
                case.document.split("/")[0] if case.document else NO_GROUP,
            )
            for case in cases
        ),
        None,
    )


def _squad(name: str, content: dict[str, Any]) -> GoldenSet:
    passages, cases = [], []
    for article in content["data"]:
        title = article["title"].replace("_", " ")
        for number, paragraph in enumerate(article["paragraphs"]):
            passage_id = f"{article['title']}:{number}"
            passages.append(Passage(passage_id, article["title"], title, paragraph["context"]))
            for asked in paragraph["qas"]:
                answers = tuple(sorted({answer["text"] for answer in asked["answers"]}))
                answerable = not asked.get("is_impossible", False)
                cases.append(Case(asked["question"], answerable, frozenset([passage_id]), answers, article["title"]))
    return GoldenSet(name, tuple(cases), tuple(passages))


def _beir(folder: Path) -> GoldenSet:
    relevant: dict[str, set[str]] = {}
    judged = sorted((folder / "qrels").glob("*.tsv"))
    if not judged:
        raise InvalidInputError(f"{folder / 'qrels'} has no .tsv file.")
    chosen = next((path for path in judged if path.stem == "test"), judged[0])
    with chosen.open(newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            if int(row["score"]) > 0:
                relevant.setdefault(row["query-id"], set()).add(row["corpus-id"])
    passages = tuple(
        Passage(row["_id"], row["_id"], row.get("title", ""), row["text"]) for row in _lines(folder / "corpus.jsonl")
    )
    cases = tuple(
        Case(row["text"], True, frozenset(relevant[row["_id"]]), (), folder.name)
        for row in _lines(folder / "queries.jsonl")
        if row["_id"] in relevant
    )
    return GoldenSet(folder.name, cases, passages)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as stream:
        for line in stream:
            if line.strip():
                yield json.loads(line)
