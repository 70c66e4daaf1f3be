"""The question log: every question, what was answered, from which sources, by which versions."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cuvee.database import answer_feedback, questions
from cuvee.errors import NotFoundError
from rag_service.answers.answerer import Answer
from rag_service.feedback import forgetting

# Made once: putting it together anew takes half a millisecond of each answer.
_INSERT = sa.insert(questions).values(
    answer_fingerprint=forgetting.fingerprint(sa.bindparam("fingerprinted", type_=sa.Text))
)


@dataclass(frozen=True)
class Posed:
    """A question as its caller sent it."""

    question: str
    topic: str | None = None
    segment: str | None = None
    filter: Mapping[str, Any] | None = None
    history: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Logged:
    """A question and the answer that was given, word for word but for what was deleted since; lists and mappings are
    JSON.
    """

    question_id: uuid.UUID
    asked_at: datetime
    question: str
    topic: str | None
    segment: str | None
    filter: dict[str, Any] | None
    history: list[dict[str, Any]]
    answer: str
    refused: bool
    sentences: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    nearest: list[dict[str, Any]]
    versions: dict[str, Any]
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class Summary:
    """One line of a caller's own questions."""

    question_id: uuid.UUID
    asked_at: datetime
    question: str
    refused: bool
    verdict: str | None


def record(engine: sa.Engine, key_id: int, posed: Posed, answer: Answer) -> uuid.UUID:
    """Write one row, durable when this returns; the id under which verdicts come in later."""
    question_id = uuid.uuid4()
    values = {
        "question_id": question_id,
        "key_id": key_id,
        "question": posed.question,
        "topic": posed.topic,
        "segment": posed.segment,
        "filter": posed.filter,
        "history": list(posed.history),
        "answer": answer.answer,
        "fingerprinted": answer.answer,
        "refused": answer.refused,
        "sentences": [asdict(sentence) for sentence in answer.sentences],
        "sources": [asdict(source) for source in answer.sources],
        "nearest": [asdict(source) for source in answer.nearest],
        "versions": asdict(answer.versions),
        "timings_ms": answer.timings_ms,
    }
    with engine.begin() as connection:
        connection.execute(_INSERT, values)
    return question_id


def find(engine: sa.Engine, question_id: uuid.UUID) -> Logged:
    """What was asked and answered, without what documents said whose text is gone.

    Raises:
        NotFoundError: no such question.
    """
    columns = [questions.c[field.name] for field in fields(Logged)]
    with engine.connect() as connection:
        statement = sa.select(*columns).where(questions.c.question_id == question_id)
        row = connection.execute(statement).mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"There is no question {question_id}.")
        return Logged(**{**row, **forgetting.shown(connection, row)})


def latest(engine: sa.Engine, key_id: int, limit: int) -> list[Summary]:
    """The last questions that this key asked, latest first, with its own verdicts on them."""
    own = sa.and_(
        answer_feedback.c.question_id == questions.c.question_id, answer_feedback.c.key_id == questions.c.key_id
    )
    statement = (
        sa.select(
            questions.c.question_id,
            questions.c.asked_at,
            questions.c.question,
            questions.c.refused,
            answer_feedback.c.verdict,
        )
        .select_from(questions.outerjoin(answer_feedback, own))
        .where(questions.c.key_id == key_id)
        .order_by(questions.c.asked_at.desc(), questions.c.question_id)
        .limit(limit)
    )
    with engine.connect() as connection:
        return [Summary(**row._mapping) for row in connection.execute(statement)]
