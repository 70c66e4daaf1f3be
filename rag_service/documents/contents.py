"""What a document holds, for people who look a citation up: its cleaned text and its original bytes."""

from dataclasses import dataclass

import sqlalchemy as sa

from cuvee.database import documents
from cuvee.errors import NotFoundError, UnreadableDocumentError
from cuvee.objects import ObjectStore
from rag_service.documents import readers

_UNKNOWN_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class TextSlice:
    """Characters `start_char` to `end_char` of a document's cleaned text, which has `total_chars`."""

    document_id: str
    title: str
    uri: str
    media_type: str | None
    pages: int | None
    start_char: int
    end_char: int
    total_chars: int
    text: str


@dataclass(frozen=True)
class Raw:
    """A document as it came in."""

    name: str
    media_type: str
    content: bytes


def text_slice(engine: sa.Engine, store: ObjectStore, document_id: str, start: int, end: int) -> TextSlice:
    """The part of the cleaned text that lies within `start` and `end`.

    Raises:
        NotFoundError: no such document, or it has no text (yet); the message says why.
    """
    row = _find(engine, document_id)
    if row.text_sha256 is None:
        raise NotFoundError(f"There is no text of document {document_id}: {row.error or 'it is not indexed yet'}")
    text = store.read(row.text_sha256).decode()
    start = min(start, len(text))
    end = max(start, min(end, len(text)))
    return TextSlice(
        document_id=document_id,
        title=row.title or readers.title_from(row.uri),
        uri=row.uri,
        media_type=row.media_type,
        pages=row.pages,
        start_char=start,
        end_char=end,
        total_chars=len(text),
        text=text[start:end],
    )


def raw(engine: sa.Engine, store: ObjectStore, document_id: str) -> Raw:
    """The original bytes.

    Raises:
        NotFoundError: no such document.
    """
    row = _find(engine, document_id)
    content = store.read(row.sha256)
    return Raw(row.uri.rsplit("/", 1)[-1], row.media_type or _media_type(content, row.uri), content)


def _media_type(content: bytes, uri: str) -> str:
    try:
        return readers.media_type(content, uri)
    except UnreadableDocumentError:
        return _UNKNOWN_TYPE


def _find(engine: sa.Engine, document_id: str) -> sa.Row[tuple[object, ...]]:
    # What its owner deleted is not shown any more, though its bytes may wait for the clean-up.
    wanted = sa.and_(documents.c.document_id == document_id, documents.c.state != "deleted")
    with engine.connect() as connection:
        row = connection.execute(sa.select(documents).where(wanted)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no document {document_id}, or it was deleted.")
    return row
