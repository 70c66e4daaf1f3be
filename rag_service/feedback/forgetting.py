"""What logged answers took from documents whose text is gone: not shown again, and not kept beyond the soak."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from cuvee.database import documents, questions
from rag_service.answers import citing
from rag_service.answers.exchange import Sentence

REMOVED = "(Removed with the document that said this.)"
"""In place of a sentence, or of several in a row."""

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
    order by question_id
""")


@dataclass(frozen=True)
class _Gone:
    """Documents whose text is gone."""

    ids: frozenset[str]
    titles: frozenset[str]
    """An earlier answer in a history names only the titles of what it cites."""


def shown(connection: sa.Connection, row: sa.RowMapping) -> dict[str, Any]:
    """The columns of a row of `questions` that hold words of documents, without those of what is gone."""
    return _without(row, _gone(connection, row, _hidden))


def forget(connection: sa.Connection) -> int:
    """Remove from the log the words of documents whose text was reclaimed; how many questions held some."""
    ids = connection.execute(_HOLDING, {"removed": REMOVED}).scalars().all()
    for question_id in ids:
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
    return _Gone(frozenset(known for known, _ in found), frozenset(title for _, title in found if title))


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
    """An earlier answer that cites nothing by title is taken to rest on what the answer to this question rests on."""
    rests_on_gone = not gone.titles.isdisjoint(turn["titles"]) or (lost and not turn["titles"])
    return {**turn, "text": REMOVED} if turn["role"] == "assistant" and rests_on_gone else turn
