"""The question log: every question, what was answered, from which sources, by which versions."""

import uuid
from dataclasses import asdict

import sqlalchemy as sa

from cuvee.database import questions
from rag_service.answers.answerer import Answer


def record(
    engine: sa.Engine, key_id: int, question: str, topic: str | None, segment: str | None, answer: Answer
) -> uuid.UUID:
    """Write one row, durable when this returns; the id under which verdicts come in later."""
    question_id = uuid.uuid4()
    values = {
        "question_id": question_id,
        "key_id": key_id,
        "question": question,
        "topic": topic,
        "segment": segment,
        "answer": answer.answer,
        "refused": answer.refused,
        "sentences": [asdict(sentence) for sentence in answer.sentences],
        "sources": [asdict(source) for source in answer.sources],
        "versions": asdict(answer.versions),
        "timings_ms": answer.timings_ms,
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(questions).values(**values))
    return question_id
