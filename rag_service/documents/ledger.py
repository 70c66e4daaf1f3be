"""The `documents` table: every document and its state.

`landed` (stored, to be read) becomes `indexed` or `failed`. `superseded`: the same place holds newer content.
`deleted`: its owner does not want it any more. `in_index` says what the published generation holds; a document that it
holds and that is not `indexed` (any more) waits to be taken out.
"""

import datetime
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from cuvee.database import documents, index_generations
from cuvee.errors import InvalidInputError, NotFoundError
from cuvee.objects import StoredObject
from rag_service.documents.details import Details


@dataclass(frozen=True)
class Place:
    """Where a document comes from; at most one live document has a place."""

    topic: str
    segment: str
    uri: str

    def document_id(self, sha256: str) -> str:
        """Identity of the content `sha256` at this place."""
        joined = "\0".join((self.topic, self.segment, self.uri, sha256))
        return hashlib.sha256(joined.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Landed:
    """A document that waits to be read."""

    document_id: str
    topic: str
    segment: str
    uri: str
    sha256: str
    size_bytes: int
    landed_at: str
    """ISO time, UTC; a document that is tried again, or of which something else is said, has a new one."""
    source: str
    given: Mapping[str, Any]
    """What its sender says of it, as `Details.as_json` writes it."""

    @property
    def landing(self) -> tuple[str, str]:
        """Its id and when it landed: by both it is known whether something was read as it is now."""
        return self.document_id, self.landed_at


@dataclass(frozen=True)
class Outcome:
    """What reading one document gave: counts, or an error."""

    document_id: str
    landed_at: str
    title: str | None
    media_type: str | None
    pages: int | None
    chars: int | None
    chunks: int | None
    text_sha256: str | None
    error: str | None
    author: str | None = None
    date: datetime.date | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def landing(self) -> tuple[str, str]:
        """What was read: this document as it landed then."""
        return self.document_id, self.landed_at


@dataclass(frozen=True)
class Landing:
    """What recording one document did."""

    result: Literal["landed", "duplicate"]
    superseded: int


UPLOAD = "upload"
"""Source of what people send in over HTTP."""
_LONG = datetime.timedelta(minutes=5)
_READABLE = sa.and_(documents.c.state.in_(("indexed", "landed", "failed")), documents.c.text_sha256.is_not(None))
"""Wanted, and read once as it is."""
_live = documents.c.state.in_(("landed", "indexed"))


def land(
    connection: sa.Connection,
    place: Place,
    stored: StoredObject,
    source: str = "inbox",
    given: Details = Details(),  # noqa: B008  frozen
) -> Landing:
    """Record that `stored` is what `place` holds now; older content of that place becomes superseded.

    The same content again changes nothing, unless it failed, was superseded or deleted, or something else is said of
    it: then it is read again.
    """
    # Two contents of one place that land at the same time would not see, and so not supersede, each other.
    lock = sa.func.hashtextextended("\n".join((place.topic, place.segment, place.uri)), 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
    document_id = place.document_id(stored.sha256)
    row = {
        "document_id": document_id,
        "topic": place.topic,
        "segment": place.segment,
        "uri": place.uri,
        "sha256": stored.sha256,
        "size_bytes": stored.size_bytes,
        "state": "landed",
        "source": source,
        "given": given.as_json(),
        **vars(given),
    }
    now = {"landed_at": sa.func.now(), "updated_at": sa.func.now()}
    changed = {name: row[name] for name in ("state", "source", "given", "author", "date", "metadata")}
    statement = insert(documents).values(**row)
    otherwise = sa.and_(sa.literal(bool(row["given"])), documents.c.given != statement.excluded.given)
    statement = statement.on_conflict_do_update(
        index_elements=["document_id"],
        # What was read before does not say what is said of it now: an older generation must not bring it back.
        set_={
            **changed,
            **now,
            "error": None,
            "reclaimed_at": None,
            "text_sha256": sa.case((otherwise, None), else_=documents.c.text_sha256),
        },
        where=sa.or_(sa.not_(_live), otherwise),
    )
    fresh = connection.execute(statement.returning(documents.c.document_id)).one_or_none() is not None
    older = (
        sa.update(documents)
        .where(documents.c.topic == place.topic, documents.c.segment == place.segment, documents.c.uri == place.uri)
        .where(documents.c.document_id != document_id, documents.c.state.in_(("landed", "indexed", "failed")))
        .values(state="superseded", updated_at=sa.func.now())
    )
    return Landing("landed" if fresh else "duplicate", connection.execute(older).rowcount)


def landed(connection: sa.Connection, most: int) -> list[Landed]:
    """The `most` documents that have waited longest to be read, by document id."""
    columns = [documents.c[name] for name in Landed.__dataclass_fields__]
    statement = sa.select(*columns).where(documents.c.state == "landed")
    rows = connection.execute(statement.order_by(documents.c.landed_at, documents.c.document_id).limit(most)).mappings()
    found = [Landed(**{**row, "landed_at": _moment(row["landed_at"])}) for row in rows]
    return sorted(found, key=lambda document: document.document_id)


def indexed(connection: sa.Connection) -> list[Landed]:
    """The documents that answers are given from, as they landed, by document id: to be read anew."""
    columns = [documents.c[name] for name in Landed.__dataclass_fields__]
    statement = sa.select(*columns).where(documents.c.state == "indexed").order_by(documents.c.document_id)
    rows = connection.execute(statement).mappings()
    return [Landed(**{**row, "landed_at": _moment(row["landed_at"])}) for row in rows]


def landings(connection: sa.Connection) -> set[tuple[str, str]]:
    """Id and time of landing of each document that waits."""
    waiting = sa.select(documents.c.document_id, documents.c.landed_at).where(documents.c.state == "landed")
    return {(document_id, _moment(landed_at)) for document_id, landed_at in connection.execute(waiting)}


def _moment(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).isoformat()


def delete(connection: sa.Connection, document_id: str) -> bool:
    """The owner does not want the document any more; False where that was so already.

    From the next generation on nothing serves it, and `housekeeping` removes its bytes and text.

    Raises:
        NotFoundError: no such document.
    """
    values = {"state": "deleted", "error": None, "updated_at": sa.func.now()}
    return _change(connection, document_id, documents.c.state != "deleted", values)


def retry(connection: sa.Connection, document_id: str) -> None:
    """Let the next run read a failed document again.

    Raises:
        NotFoundError: no such document.
        InvalidInputError: it did not fail.
    """
    # The reason stays until the outcome is known: it tells this document from one that has just landed.
    values = {"state": "landed", "landed_at": sa.func.now(), "updated_at": sa.func.now()}
    if not _change(connection, document_id, documents.c.state == "failed", values):
        raise InvalidInputError(f"Document {document_id} did not fail, so there is nothing to try again.")


def _change(
    connection: sa.Connection, document_id: str, where: sa.ColumnElement[bool], values: Mapping[str, object]
) -> bool:
    statement = sa.update(documents).where(documents.c.document_id == document_id, where).values(**values)
    if connection.execute(statement).rowcount:
        return True
    known = sa.select(sa.literal(1)).where(documents.c.document_id == document_id)
    if connection.execute(known).one_or_none() is None:
        raise NotFoundError(f"There is no document {document_id}.")
    return False


def requested(connection: sa.Connection) -> tuple[int, str]:
    """How many uploads, deletions and retries wait for a run of `index_documents`, and a text that changes with them.

    So do all others that have waited for long: more than one run takes. The text is empty where none do.
    """
    deleted = sa.and_(documents.c.in_index, documents.c.state == "deleted")
    at_once = sa.or_(documents.c.error.is_not(None), documents.c.source == UPLOAD)
    for_long = documents.c.landed_at < sa.func.now() - _LONG
    waiting = sa.or_(deleted, sa.and_(documents.c.state == "landed", sa.or_(at_once, for_long)))
    statement = sa.select(sa.func.count(), sa.func.max(documents.c.updated_at)).where(waiting)
    count, latest = connection.execute(statement).one()
    return count, f"{count} {latest}" if count else ""


def ids_in_state(connection: sa.Connection, state: str) -> set[str]:
    return set(connection.execute(sa.select(documents.c.document_id).where(documents.c.state == state)).scalars())


def texts_read_after(connection: sa.Connection, number: int) -> dict[str, str]:
    """Of each document that was read after this generation was published, the hash of the cleaned text that is kept."""
    published = sa.select(index_generations.c.published_at).where(index_generations.c.number == number)
    later = documents.c.indexed_at > published.scalar_subquery()
    rows = connection.execute(sa.select(documents.c.document_id, documents.c.text_sha256).where(_READABLE, later))
    return {row.document_id: row.text_sha256 for row in rows}


def told(connection: sa.Connection) -> dict[str, tuple[str, Details]]:
    """Of each document that a generation may hold, what brought it, and what is recorded of it beside its text."""
    columns = [documents.c[name] for name in ("document_id", "source", "author", "date", "metadata")]
    rows = connection.execute(sa.select(*columns).where(_READABLE))
    return {
        document_id: (source, Details(author, date, metadata)) for document_id, source, author, date, metadata in rows
    }


def mark_failed(connection: sa.Connection, outcomes: Iterable[Outcome]) -> int:
    """Record the reasons of the outcomes with an error; how many of these documents still waited."""
    rows = [{**_key(o), "reason": o.error} for o in outcomes if o.error is not None]
    values = {"state": "failed", "error": sa.bindparam("reason"), "updated_at": sa.func.now()}
    return _update_landed(connection, rows, values)


def mark_indexed(connection: sa.Connection, outcomes: Sequence[Outcome]) -> int:
    """Record what reading gave for documents that the generation of this transaction holds; how many still waited."""
    now = {
        "state": "indexed",
        "in_index": True,
        "error": None,
        "indexed_at": sa.func.now(),
        "updated_at": sa.func.now(),
    }
    return _update_landed(connection, [_read(o) for o in outcomes], {**_NEWLY_READ, **now})


def mark_reread(connection: sa.Connection, outcomes: Sequence[Outcome]) -> None:
    """Record what reading indexed documents anew gave, for a generation of this transaction that is made of it."""
    read = [outcome for outcome in outcomes if outcome.error is None]
    failed = [{**_key(o), "reason": o.error} for o in outcomes if o.error is not None]
    reason = {"state": "failed", "error": sa.bindparam("reason"), "in_index": False}
    for rows, values in (([_read(o) for o in read], _NEWLY_READ), (failed, reason)):
        if rows:
            statement = sa.update(documents).where(_SAME, documents.c.state == "indexed")
            connection.execute(statement.values(**values, updated_at=sa.func.now(), indexed_at=sa.func.now()), rows)


_READ = ("title", "media_type", "pages", "chars", "chunks", "text_sha256", "author", "date", "metadata")
_NEWLY_READ: dict[str, object] = {name: sa.bindparam(f"new_{name}", type_=documents.c[name].type) for name in _READ}
# One that landed again meanwhile waits to be read again.
_SAME = sa.and_(documents.c.document_id == sa.bindparam("key"), documents.c.landed_at == sa.bindparam("landing"))


def _read(outcome: Outcome) -> dict[str, object]:
    return {**_key(outcome), **{f"new_{name}": getattr(outcome, name) for name in _READ}}


def _key(outcome: Outcome) -> dict[str, object]:
    return {"key": outcome.document_id, "landing": datetime.datetime.fromisoformat(outcome.landed_at)}


def _update_landed(
    connection: sa.Connection, rows: Sequence[Mapping[str, object]], values: Mapping[str, object]
) -> int:
    if not rows:
        return 0
    statement = sa.update(documents).where(_SAME, documents.c.state == "landed").values(**values)
    # One statement per row: psycopg2 does not report the count of a batch.
    return sum(connection.execute(statement, row).rowcount for row in rows)
