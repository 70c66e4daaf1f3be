"""What goes in and out over HTTP: documents."""

import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json

from rag_service.documents.cleaning import clean_query
from rag_service.documents.details import FIRST_DAY, LAST_DAY, MOST_KEY_CHARS, MOST_KEYS, MOST_VALUE_CHARS, Details

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


def _on_one_line(text: str) -> str:
    """As what files say of themselves is cleaned, so that a filter finds both."""
    cleaned = clean_query(text)
    if not cleaned:
        raise ValueError("must have readable characters")
    return cleaned


_Text = Annotated[str, Field(min_length=1, max_length=MOST_VALUE_CHARS), AfterValidator(_on_one_line)]
_Key = Annotated[str, Field(pattern=rf"^[a-z0-9_]{{1,{MOST_KEY_CHARS}}}$")]


class UploadDetails(BaseModel):
    """What whoever sends documents in says of them; it goes before what they say of themselves."""

    author: _Text | None = None
    date: Annotated[datetime.date, Field(ge=FIRST_DAY, le=LAST_DAY)] | None = None
    metadata: Json[Annotated[dict[_Key, _Text], Field(max_length=MOST_KEYS)]] | None = None

    def details(self) -> Details:
        return Details(self.author, self.date, self.metadata or {})


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
