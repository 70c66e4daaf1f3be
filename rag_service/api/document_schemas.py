"""What goes in and out over HTTP: documents."""

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

DocumentState = Literal["landed", "indexed", "failed", "superseded", "deleted"]


class DocumentOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    document_id: str
    topic: str
    segment: str
    uri: str
    title: str | None
    media_type: str | None
    size_bytes: int
    source: Annotated[str, Field(description="What brought it: inbox, upload ...")]
    author: str | None
    date: datetime.date | None
    metadata: dict[str, str]
    state: DocumentState
    error: str | None
    pages: int | None
    chars: int | None
    chunks: int | None
    landed_at: datetime.datetime
    updated_at: datetime.datetime
    indexed_at: datetime.datetime | None


class DocumentsResponse(BaseModel):
    documents: list[DocumentOut]
    total: int
    limit: int
    offset: int


class RefusalOut(BaseModel):
    """A file that was not taken, and why."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    reason: str


class UploadResponse(BaseModel):
    """The documents, in the order of the files that were taken."""

    documents: list[DocumentOut]
    refused: list[RefusalOut]


class TextResponse(BaseModel):
    """Characters `start_char` to `end_char` of the document's cleaned text, which has `total_chars`."""

    model_config = ConfigDict(from_attributes=True)

    document_id: str
    title: str
    uri: str
    media_type: str | None
    pages: int | None
    start_char: int
    end_char: int
    total_chars: int
    text: str


class SegmentOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    segment: str
    landed: int
    indexed: int
    failed: int


class TopicOut(BaseModel):
    topic: str
    segments: list[SegmentOut]


class TopicsResponse(BaseModel):
    """Topics and segments that have documents, and how many in each state."""

    topics: list[TopicOut]
