"""Which documents the published index generation holds (`in_index`); changed where a generation is published."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from cuvee.database import documents

_leaving = sa.and_(documents.c.in_index, documents.c.state != "indexed")


def any_leaving(connection: sa.Connection) -> bool:
    """Whether the published generation holds a document that is not alive any more."""
    return bool(connection.execute(sa.select(sa.exists().where(_leaving))).scalar_one())


def any_deleted(connection: sa.Connection) -> bool:
    """Whether it holds one that was deleted."""
    deleted = sa.and_(_leaving, documents.c.state == "deleted")
    return bool(connection.execute(sa.select(sa.exists().where(deleted))).scalar_one())


def hold(connection: sa.Connection) -> None:
    """Nobody else changes the table until this transaction ends."""
    connection.execute(sa.text("lock table documents in share row exclusive mode"))


def restorable(connection: sa.Connection) -> set[str]:
    """Documents that wait, or cannot be read now, and that an older generation may hold as they are: they were read
    once, and their text is kept.
    """
    read = documents.c.text_sha256.is_not(None)
    statement = sa.select(documents.c.document_id).where(documents.c.state.in_(("landed", "failed")), read)
    return set(connection.execute(statement).scalars())


def mark_served(connection: sa.Connection, held: Collection[str]) -> int:
    """The generation of this transaction holds exactly `held`: what waited or had failed among them is indexed, other
    indexed documents wait to be indexed again; how many do.
    """
    holds = documents.c.document_id.in_(sa.select(sa.func.unnest(sa.bindparam("held", list(held), ARRAY(sa.Text)))))
    now = {"updated_at": sa.func.now()}
    waited = sa.update(documents).where(holds, documents.c.state.in_(("landed", "failed")))
    connection.execute(waited.values(state="indexed", error=None, in_index=True, **now))
    missing = sa.update(documents).where(sa.not_(holds), documents.c.state == "indexed")
    again = connection.execute(missing.values(state="landed", landed_at=sa.func.now(), in_index=False, **now)).rowcount
    connection.execute(sa.update(documents).where(holds, documents.c.state == "indexed").values(in_index=True))
    return again


def mark_left(connection: sa.Connection) -> int:
    """The generation of this transaction holds no document that is not indexed; how many left with it."""
    return connection.execute(sa.update(documents).where(_leaving).values(in_index=False)).rowcount
