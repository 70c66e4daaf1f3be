"""What of the ledger is only kept for the soak: which documents, and with them which objects, may go."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from cuvee.database import documents

_gone = documents.c.state.in_(("deleted", "superseded"))


@dataclass(frozen=True)
class Retention:
    """What may be removed now."""

    documents: tuple[str, ...]
    """Deleted or superseded before the soak."""
    objects_kept: frozenset[str]
    """Hashes that other documents refer to."""
    put_before: float
    """Objects put later than this (seconds since 1970) may be of a document that is just being read: they stay."""


def any_deleted(connection: sa.Connection, ids: Collection[str], soak: timedelta) -> bool:
    """Whether one of these documents was deleted before the soak."""
    among = documents.c.document_id.in_(sa.select(sa.func.unnest(sa.bindparam("ids", list(ids), ARRAY(sa.Text)))))
    due = sa.and_(among, _over(soak), documents.c.state == "deleted")
    return bool(connection.execute(sa.select(sa.exists().where(due))).scalar_one())


def read(connection: sa.Connection, soak: timedelta) -> Retention:
    due = sa.and_(_over(soak), documents.c.reclaimed_at.is_(None), sa.not_(documents.c.in_index))
    ids = connection.execute(sa.select(documents.c.document_id).where(due)).scalars()
    columns = sa.select(documents.c.sha256, documents.c.text_sha256)
    rows = connection.execute(columns.where(sa.not_(due), documents.c.reclaimed_at.is_(None)))
    kept = frozenset(sha256 for row in rows for sha256 in row if sha256 is not None)
    oldest_waiting = sa.select(sa.func.min(documents.c.landed_at)).where(documents.c.state == "landed")
    before = sa.func.least(sa.func.now() - soak, oldest_waiting.scalar_subquery())
    seconds = connection.execute(sa.select(sa.extract("epoch", before))).scalar_one()
    return Retention(tuple(ids), kept, float(seconds))


def mark_reclaimed(connection: sa.Connection, ids: Collection[str]) -> int:
    """Their bytes and texts are gone; a document that landed again meanwhile is left as it is."""
    chosen = sa.and_(documents.c.document_id.in_(list(ids)), _gone)
    statement = sa.update(documents).where(chosen).values(reclaimed_at=sa.func.now(), text_sha256=None)
    return connection.execute(statement).rowcount


def _over(soak: timedelta) -> sa.ColumnElement[bool]:
    return sa.and_(_gone, documents.c.updated_at < sa.func.now() - soak)
