"""What goes in and out over HTTP."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold the character U+0000")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


Question = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_storable), AfterValidator(_not_blank)]
Place = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]
"""Name of a topic or segment."""
DocumentId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]
DocumentState = Literal["landed", "indexed", "failed", "superseded", "deleted"]


class AskRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: Annotated[Question, Field(examples=["When may people return after the evacuation alarm?"])]
    topic: Place | None = None
    segment: Place | None = None
    top_k: Annotated[int, Field(ge=1, le=50, description="Passages to answer from")] = 8


class SearchRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: Question
    topic: Place | None = None
    segment: Place | None = None
    top_k: Annotated[int, Field(ge=1, le=50)] = 8


class SentenceOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    text: str
    citations: list[int]


class SourceOut(BaseModel):
    """A cited passage: characters `start_char` to `end_char` of the document's cleaned text; score is a cosine."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    document_id: str
    title: str
    uri: str
    page: int | None
    start_char: int
    end_char: int
    text: str
    score: float


class VersionsOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    generation: int
    embedder: str
    answer_model: str


class AskResponse(BaseModel):
    question_id: uuid.UUID
    answer: str
    refused: bool
    sentences: list[SentenceOut]
    sources: list[SourceOut]
    versions: VersionsOut
    timings_ms: dict[str, float]


class HitOut(BaseModel):
    document_id: str
    chunk_id: str
    title: str
    uri: str
    page: int | None
    text: str
    score: float


class SearchResponse(BaseModel):
    hits: list[HitOut]
    generation: int


class DocumentOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    document_id: str
    topic: str
    segment: str
    uri: str
    title: str | None
    media_type: str | None
    size_bytes: int
    state: DocumentState
    error: str | None
    pages: int | None
    chars: int | None
    chunks: int | None
    landed_at: datetime
    updated_at: datetime
    indexed_at: datetime | None


class DocumentsResponse(BaseModel):
    documents: list[DocumentOut]
    total: int
    limit: int
    offset: int


class Readiness(BaseModel):
    """What is served. `problem` says why a newer generation is not, if one was published and refused."""

    status: Literal["ready"] = "ready"
    generation: int
    documents: int
    chunks: int
    embedder: str
    answer_model: str
    problem: str | None
