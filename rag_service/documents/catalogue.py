"""Reading what is recorded about documents, page by page, for people and programs that ask."""

import datetime
from collections.abc import Collection
from dataclasses import dataclass, fields

import sqlalchemy as sa

from cuvee.database import documents
from cuvee.errors import NotFoundError


@dataclass(frozen=True)
class DocumentRecord:
    """One document as it stands; `error` is written for its owner."""

    document_id: str
    topic: str
    segment: str
    uri: str
    title: str | None
    media_type: str | None
    size_bytes: int
    source: str
    author: str | None
    date: datetime.date | None
    metadata: dict[str, str]
    state: str
    error: str | None
    pages: int | None
    chars: int | None
    chunks: int | None
    landed_at: datetime.datetime
    updated_at: datetime.datetime
    indexed_at: datetime.datetime | None


_COLUMNS = [documents.c[field.name] for field in fields(DocumentRecord)]


def page(
    engine: sa.Engine,
    topic: str | None,
    segment: str | None,
    states: Collection[str] | None,
    limit: int,
    offset: int,
) -> tuple[list[DocumentRecord], int]:
    """The documents that match, latest landed first, from `offset` on, and how many match in all."""
    wanted = {"topic": topic, "segment": segment}
    matching = [documents.c[name] == value for name, value in wanted.items() if value is not None]
    if states:
        matching.append(documents.c.state.in_(states))
    listed = (
        sa.select(*_COLUMNS)
        .where(*matching)
        .order_by(documents.c.landed_at.desc(), documents.c.document_id)
        .limit(limit)
        .offset(offset)
    )
    with engine.connect() as connection:
        rows = connection.execute(listed).all()
        total = connection.execute(sa.select(sa.func.count()).select_from(documents).where(*matching)).scalar_one()
    return [DocumentRecord(**row._mapping) for row in rows], total


@dataclass(frozen=True)
class SegmentCount:
    """How many documents a segment has, by state; superseded and deleted ones are left out."""

    topic: str
    segment: str
    landed: int
    indexed: int
    failed: int


def segments(engine: sa.Engine) -> list[SegmentCount]:
    """Every topic and segment that has documents, by name."""
    states = ("landed", "indexed", "failed")
    counts = [sa.func.count().filter(documents.c.state == state).label(state) for state in states]
    place = (documents.c.topic, documents.c.segment)
    statement = sa.select(*place, *counts).where(documents.c.state.in_(states)).group_by(*place).order_by(*place)
    with engine.connect() as connection:
        return [SegmentCount(**row._mapping) for row in connection.execute(statement)]


def find(engine: sa.Engine, document_id: str) -> DocumentRecord:
    """One document.

    Raises:
        NotFoundError: no such document.
    """
    with engine.connect() as connection:
        row = connection.execute(sa.select(*_COLUMNS).where(documents.c.document_id == document_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no document {document_id}.")
    return DocumentRecord(**row._mapping)
