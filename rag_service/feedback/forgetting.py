"""What logged answers took from documents whose text is gone: not shown again, and not kept beyond the soak."""

import uuid
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from cuvee.database import documents, questions
from rag_service.answers import citing
from rag_service.answers.exchange import Sentence

REMOVED = "(Removed with the document that said this.)"
"""In place of a sentence, or of several in a row."""

# White space, and numbers in brackets: marks of citations, and what `citing.marked` makes of what only looks like one.
_NOT_COMPARED = r"\s+|[[(]\d+(\s*,\s*\d+)*[])]"
_COMPARED_CHARS = 1000
"""A history may hold only the first 4,000 characters of an answer."""

_reclaimed = documents.c.reclaimed_at.is_not(None)
# The text of a replaced document may be read until it is reclaimed, that of a deleted one not.
_hidden = sa.or_(_reclaimed, documents.c.state == "deleted")
# A title in a history has 300 characters at most.
_title = sa.func.left(documents.c.title, 300)
_HOLDING = sa.text("""
    with reclaimed as (select document_id, left(title, 300) as title from documents where reclaimed_at is not null)
    select question_id from questions
    where exists (
        select from jsonb_array_elements(sources || nearest) as source
        where source ->> 'document_id' in (select document_id from reclaimed) and not source ? 'deleted'
    ) or exists (
        select from jsonb_array_elements(history) as turn, jsonb_array_elements_text(turn -> 'titles') as cited
        where turn ->> 'role' = 'assistant' and turn ->> 'text' <> :removed
        and cited in (select title from reclaimed where title is not null)
    )
""")


@dataclass(frozen=True)
class _Gone:
    """Documents whose text is gone."""

    ids: frozenset[str]
    titles: frozenset[str]
    """An earlier answer in a history names only the titles of what it cites."""
    answers: frozenset[str]
    """Earlier answers in a history that name none, but are in the log as resting on such a document."""


def fingerprint(answer: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """What an answer is known by, with or without its citations, also after its words were removed."""
    return sa.func.md5(sa.func.left(sa.func.regexp_replace(answer, _NOT_COMPARED, "", "g"), _COMPARED_CHARS))


def shown(connection: sa.Connection, row: sa.RowMapping) -> dict[str, Any]:
    """The columns of a row of `questions` that hold words of documents, without those of what is gone."""
    return _without(row, _gone(connection, row, _hidden))


def forget(connection: sa.Connection) -> int:
    """Remove from the log the words of documents whose text was reclaimed; how many questions held some."""
    holding = connection.execute(_HOLDING, {"removed": REMOVED}).scalars()
    ids = {*holding, *connection.execute(_repeating()).scalars()}
    for question_id in sorted(ids):
        this = questions.c.question_id == question_id
        row = connection.execute(sa.select(questions).where(this)).mappings().one()
        left = _without(row, _gone(connection, row, _reclaimed))
        connection.execute(sa.update(questions).where(this).values(**left))
    return len(ids)


def _gone(connection: sa.Connection, row: sa.RowMapping, gone: sa.ColumnElement[bool]) -> _Gone:
    ids = {source["document_id"] for source in (*row["sources"], *row["nearest"])}
    titles = {title for turn in row["history"] for title in turn["titles"]}
    named = sa.or_(documents.c.document_id.in_(ids), _title.in_(titles))
    found = connection.execute(sa.select(documents.c.document_id, _title).where(gone, named)).all()
    texts = [turn["text"] for turn in row["history"] if turn["role"] == "assistant" and not turn["titles"]]
    asked = [_rests_on(sa.literal(text), gone) for text in texts]
    logged = connection.execute(sa.select(*asked)).one() if asked else ()
    return _Gone(
        frozenset(known for known, _ in found),
        frozenset(title for _, title in found if title),
        frozenset(text for text, rests in zip(texts, logged, strict=True) if rests),
    )


def _repeating() -> sa.Select[tuple[uuid.UUID]]:
    """Questions in whose history an answer without titles rests on a document whose text was reclaimed."""
    turn = sa.func.jsonb_array_elements(questions.c.history, type_=JSONB).column_valued("turn")
    role, text = turn["role"].astext, turn["text"].astext
    untitled = sa.func.jsonb_array_length(turn["titles"]) == 0
    rests = sa.select(turn).where(role == "assistant", text != REMOVED, untitled, _rests_on(text, _reclaimed))
    return sa.select(questions.c.question_id).where(rests.exists())


def _rests_on(answer: sa.ColumnElement[str], gone: sa.ColumnElement[bool]) -> sa.Exists:
    """Whether the log has this answer with a source among the documents that are `gone`."""
    logged = questions.alias("logged")
    cited = sa.func.jsonb_array_elements(logged.c.sources, type_=JSONB).column_valued("cited")
    among = cited["document_id"].astext.in_(sa.select(documents.c.document_id).where(gone))
    same = logged.c.answer_fingerprint == fingerprint(answer)
    return sa.select(logged.c.question_id).where(same, sa.select(cited).where(among).exists()).exists()


def _without(row: sa.RowMapping, gone: _Gone) -> dict[str, Any]:
    removed = {source["number"] for source in row["sources"] if source["document_id"] in gone.ids}
    # What another document says too stays.
    said = [
        {"text": REMOVED, "citations": sentence["citations"]} if removed.issuperset(sentence["citations"]) else sentence
        for sentence in row["sentences"]
    ]
    sentences = [sentence for sentence, _ in groupby(said)]
    cited = [Sentence(sentence["text"], tuple(sentence["citations"])) for sentence in sentences]
    sources, nearest = ([_emptied(source, gone) for source in row[name]] for name in ("sources", "nearest"))
    lost = any("deleted" in source for source in (*sources, *nearest))
    return {
        "answer": row["answer"] if sentences == row["sentences"] else citing.marked(cited),
        "sentences": sentences,
        "sources": sources,
        "nearest": nearest,
        "history": [_forgotten(turn, gone, lost) for turn in row["history"]],
    }


def _emptied(source: dict[str, Any], gone: _Gone) -> dict[str, Any]:
    if source["document_id"] not in gone.ids:
        return source
    return {**source, "text": "", "quotes": [], "deleted": True}


def _forgotten(turn: dict[str, Any], gone: _Gone, lost: bool) -> dict[str, Any]:
    """An earlier answer that cites nothing by title is taken to rest on what the answer to this question rests on, and
    on what it rests on in the log.
    """
    untitled = not turn["titles"] and (lost or turn["text"] in gone.answers)
    rests_on_gone = not gone.titles.isdisjoint(turn["titles"]) or untitled
    return {**turn, "text": REMOVED} if turn["role"] == "assistant" and rests_on_gone else turn
