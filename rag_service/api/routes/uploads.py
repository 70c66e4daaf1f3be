"""POST /documents: files that people send in. GET /topics: where they can go."""

from collections.abc import AsyncIterator
from itertools import groupby
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from cuvee.errors import InvalidInputError, TooLargeError
from rag_service.api.deps import DocumentsCaller, Engine, RagCaller, ReadingLimits, Store
from rag_service.api.document_schemas import (
    DocumentOut,
    RefusalOut,
    SegmentOut,
    TopicOut,
    TopicsResponse,
    UploadDetails,
    UploadResponse,
)
from rag_service.documents import catalogue, uploads
from rag_service.documents.details import MOST_KEY_CHARS, MOST_KEYS, MOST_VALUE_CHARS, Details
from rag_service.documents.uploads import Refusal, Upload

router = APIRouter(tags=["documents"])

MOST_FILES = 20
_FORM = {
    "type": "object",
    "required": ["files", "topic", "segment"],
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": MOST_FILES},
        "topic": {"type": "string"},
        "segment": {"type": "string"},
        "author": {"type": "string", "maxLength": MOST_VALUE_CHARS},
        "date": {"type": "string", "format": "date", "description": "Published on"},
        "metadata": {
            "type": "object",
            "additionalProperties": {"type": "string", "maxLength": MOST_VALUE_CHARS},
            "propertyNames": {"pattern": f"^[a-z0-9_]{{1,{MOST_KEY_CHARS}}}$"},
            "maxProperties": MOST_KEYS,
            "description": "Texts by name, for the filter `metadata.<name>`; JSON",
            "example": {"vintage": "2021"},
        },
    },
}


async def _form(request: Request) -> AsyncIterator[FormData]:
    async with request.form(max_files=MOST_FILES, max_fields=10, max_part_size=20_000) as form:
        yield form


Form = Annotated[FormData, Depends(_form)]


async def _details(form: Form) -> Details:
    sent = {name: form.get(name) or None for name in UploadDetails.model_fields}
    try:
        return UploadDetails.model_validate(sent).details()
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


Given = Annotated[Details, Depends(_details)]


@router.post(
    "/documents",
    status_code=202,
    summary="Send files in; they are answered from once they are indexed",
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}},
)
async def upload(
    _: DocumentsCaller, form: Form, given: Given, engine: Engine, store: Store, limits: ReadingLimits
) -> UploadResponse:
    """The key is checked before the body is read. A file that cannot be taken does not stop the others. `author`,
    `date` and `metadata` are said of every file, and go before what files say of themselves.
    """
    files = [_upload(part) for name in ("files", "file") for part in form.getlist(name)]
    if not files:
        raise InvalidInputError("files: send at least one file as multipart/form-data.")
    place = _text(form, "topic"), _text(form, "segment")
    taken, refused = await anyio.to_thread.run_sync(uploads.take, files, *place, given, engine, store, limits)
    if not taken:
        raise _no_file_taken(refused)
    records = await anyio.to_thread.run_sync(lambda: [catalogue.find(engine, document_id) for document_id in taken])
    return UploadResponse(
        documents=[DocumentOut.model_validate(record) for record in records],
        refused=[RefusalOut.model_validate(refusal) for refusal in refused],
    )


@router.get("/topics", summary="Topics and segments, and how many documents they have")
def list_topics(_: RagCaller, engine: Engine) -> TopicsResponse:
    grouped = groupby(catalogue.segments(engine), lambda count: count.topic)
    return TopicsResponse(
        topics=[
            TopicOut(topic=topic, segments=[SegmentOut.model_validate(count) for count in counts])
            for topic, counts in grouped
        ]
    )


def _upload(part: UploadFile | str) -> Upload:
    if isinstance(part, str):
        raise InvalidInputError("files: send files, not text.")
    return Upload(part.filename or "", part.file, part.size or 0)


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    if not isinstance(value, str):
        raise InvalidInputError(f"{name}: Field required")
    return value


def _no_file_taken(refused: list[Refusal]) -> InvalidInputError:
    reasons = "; ".join(f"{refusal.name}: {refusal.reason}" if refusal.name else refusal.reason for refusal in refused)
    return TooLargeError(reasons) if all(refusal.too_large for refusal in refused) else InvalidInputError(reasons)
