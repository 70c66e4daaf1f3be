"""Documents: what became of each, what it holds, sending new ones in, deleting, trying again."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from rag_service.api.deps import DocumentsCaller, Engine, RagCaller, Store
from rag_service.api.document_schemas import (
    DocumentOut,
    DocumentsResponse,
    DocumentState,
    TextResponse,
)
from rag_service.api.raw import raw_response
from rag_service.api.schemas import DocumentId, Place
from rag_service.documents import catalogue, contents, ledger

router = APIRouter(prefix="/documents", tags=["documents"])

_MOST_TEXT_CHARS = 100_000
_Id = Annotated[DocumentId, Path()]
_Position = Annotated[int, Query(ge=0, le=2**31)]


@router.get("", summary="Documents and their states, latest first")
def list_documents(
    _: RagCaller,
    engine: Engine,
    topic: Annotated[Place | None, Query()] = None,
    segment: Annotated[Place | None, Query()] = None,
    state: Annotated[list[DocumentState] | None, Query(description="One or several")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> DocumentsResponse:
    records, total = catalogue.page(engine, topic, segment, state, limit, offset)
    shown = [DocumentOut.model_validate(record) for record in records]
    return DocumentsResponse(documents=shown, total=total, limit=limit, offset=offset)


@router.get("/{document_id}", summary="One document")
def show_document(document_id: _Id, _: RagCaller, engine: Engine) -> DocumentOut:
    return DocumentOut.model_validate(catalogue.find(engine, document_id))


@router.delete("/{document_id}", status_code=202, summary="Delete a document; the next micro-batch takes it out")
def delete_document(document_id: _Id, _: DocumentsCaller, engine: Engine) -> DocumentOut:
    with engine.begin() as connection:
        ledger.delete(connection, document_id)
    return DocumentOut.model_validate(catalogue.find(engine, document_id))


@router.post("/{document_id}/retry", status_code=202, summary="Read a failed document again")
def retry_document(document_id: _Id, _: DocumentsCaller, engine: Engine) -> DocumentOut:
    with engine.begin() as connection:
        ledger.retry(connection, document_id)
    return DocumentOut.model_validate(catalogue.find(engine, document_id))


@router.get("/{document_id}/text", summary="A part of the cleaned text, which citations point into")
def show_text(
    document_id: _Id, _: RagCaller, engine: Engine, store: Store, start: _Position = 0, end: _Position | None = None
) -> TextResponse:
    """At most 100,000 characters from `start` on."""
    most = start + _MOST_TEXT_CHARS
    found = contents.text_slice(engine, store, document_id, start, most if end is None else min(end, most))
    return TextResponse.model_validate(found)


@router.get("/{document_id}/raw", summary="The original file", response_class=Response)
def show_raw(document_id: _Id, _: RagCaller, engine: Engine, store: Store) -> Response:
    return raw_response(contents.raw(engine, store, document_id))
