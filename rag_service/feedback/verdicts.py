"""What people think of the answers they got: one verdict of one key on one question, the latest."""

import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from cuvee.database import answer_feedback, documents, questions
from cuvee.errors import NotFoundError


@dataclass(frozen=True)
class Verdict:
    """A judgement; `correct_document_id` is where the answer would have been."""

    question_id: uuid.UUID
    verdict: Literal["up", "down"]
    comment: str | None = None
    correct_document_id: str | None = None


@dataclass(frozen=True)
class Given:
    """A verdict that is recorded."""

    question_id: uuid.UUID
    verdict: str
    comment: str | None
    correct_document_id: str | None
    given_at: datetime


def give(engine: sa.Engine, key_id: int, verdict: Verdict) -> Given:
    """Record a verdict; the same key's former one on this question is replaced.

    Raises:
        NotFoundError: there is no such question, or no such document.
    """
    values = {**asdict(verdict), "key_id": key_id}
    statement = insert(answer_feedback).values(**values, given_at=sa.func.now())
    changed = {name: statement.excluded[name] for name in ("verdict", "comment", "correct_document_id", "given_at")}
    with engine.begin() as connection:
        _must_exist(connection, questions.c.question_id, verdict.question_id, "question")
        if verdict.correct_document_id is not None:
            _must_exist(connection, documents.c.document_id, verdict.correct_document_id, "document")
        replaced = statement.on_conflict_do_update(index_elements=["question_id", "key_id"], set_=changed)
        given_at = connection.execute(replaced.returning(answer_feedback.c.given_at)).scalar_one()
    return Given(verdict.question_id, verdict.verdict, verdict.comment, verdict.correct_document_id, given_at)


def of(engine: sa.Engine, key_id: int, question_id: uuid.UUID) -> Given | None:
    """What this key thinks of the answer; None where it has not said."""
    columns = [answer_feedback.c[name] for name in Given.__dataclass_fields__]
    wanted = sa.and_(answer_feedback.c.question_id == question_id, answer_feedback.c.key_id == key_id)
    with engine.connect() as connection:
        row = connection.execute(sa.select(*columns).where(wanted)).one_or_none()
    return None if row is None else Given(**row._mapping)


def _must_exist(connection: sa.Connection, column: sa.Column[object], value: object, name: str) -> None:
    # Kept from vanishing until this transaction ends.
    found = connection.execute(sa.select(column).where(column == value).with_for_update(key_share=True, read=True))
    if found.one_or_none() is None:
        raise NotFoundError(f"There is no {name} {value}.")
