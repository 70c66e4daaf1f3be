"""GET /documents: what became of every document."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from rag_service.api.deps import Engine, RagCaller
from rag_service.api.schemas import DocumentId, DocumentOut, DocumentsResponse, DocumentState, Place
from rag_service.documents import catalogue

router = APIRouter(prefix="/documents", tags=["documents"])


@router.get("", summary="Documents and their states, latest first")
def list_documents(
    _: RagCaller,
    engine: Engine,
    topic: Annotated[Place | None, Query()] = None,
    segment: Annotated[Place | None, Query()] = None,
    state: DocumentState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> DocumentsResponse:
    records, total = catalogue.page(engine, topic, segment, state, limit, offset)
    shown = [DocumentOut.model_validate(record) for record in records]
    return DocumentsResponse(documents=shown, total=total, limit=limit, offset=offset)


@router.get("/{document_id}", summary="One document")
def show_document(document_id: Annotated[DocumentId, Path()], _: RagCaller, engine: Engine) -> DocumentOut:
    return DocumentOut.model_validate(catalogue.find(engine, document_id))
