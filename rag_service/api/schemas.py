"""What goes in and out over HTTP: questions, answers, verdicts. Documents are in `document_schemas`."""

import json
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold the character U+0000")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


MOST_QUESTION_CHARS = 2000
Question = Annotated[
    str, Field(min_length=1, max_length=MOST_QUESTION_CHARS), AfterValidator(_storable), AfterValidator(_not_blank)
]
Place = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]
"""Name of a topic or segment."""
DocumentId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]
Comment = Annotated[str, Field(max_length=2000), AfterValidator(_storable)]


MOST_TURNS, MOST_TURN_CHARS = 20, 4000
_MOST_FILTER_CHARS, _MOST_FILTER_DEPTH = 10_000, 20


def _bounded(condition: dict[str, Any]) -> dict[str, Any]:
    if _deeper(condition, _MOST_FILTER_DEPTH):
        raise ValueError(f"may have at most {_MOST_FILTER_DEPTH} levels")
    text = json.dumps(condition, ensure_ascii=False)
    if len(text) > _MOST_FILTER_CHARS:
        raise ValueError(f"may have at most {_MOST_FILTER_CHARS} characters")
    text.encode()  # a half of a surrogate pair cannot be stored either
    if "\\u0000" in text:
        raise ValueError("must not hold the character U+0000")
    return condition


def _deeper(value: object, levels: int) -> bool:
    """Whether it has more levels; further down nobody looks, for a request can nest more than the stack holds."""
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(part, levels - 1) for part in parts)


Filter = Annotated[
    dict[str, Any],
    AfterValidator(_bounded),
    Field(description="Condition on the documents, besides topic and segment", examples=[{"topic": ["cellar"]}]),
]


class TurnIn(BaseModel):
    """What was said earlier in the conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    text: Annotated[str, Field(min_length=1, max_length=MOST_TURN_CHARS), AfterValidator(_storable)]
    titles: Annotated[
        list[Annotated[str, Field(max_length=300), AfterValidator(_storable)]],
        Field(max_length=50, description="Of the documents that an answer cited"),
    ] = []


class AskRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: Annotated[Question, Field(examples=["When may people return after the evacuation alarm?"])]
    topic: Place | None = None
    segment: Place | None = None
    filter: Filter | None = None
    history: Annotated[list[TurnIn], Field(max_length=MOST_TURNS, description="Earlier turns, oldest first")] = []
    top_k: Annotated[int, Field(ge=1, le=50, description="Passages to answer from")] = 8
    stream: Annotated[bool, Field(description="Answer in server-sent events: sources, token ..., answer")] = False


class SearchRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: Question
    topic: Place | None = None
    segment: Place | None = None
    filter: Filter | None = None
    top_k: Annotated[int, Field(ge=1, le=50)] = 8


class SentenceOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    text: str
    citations: list[int]
    quotes: Annotated[
        list[int],
        Field(
            description="For each citation which quote of its source says it, from 0; empty in old answers, and of a "
            "source that is deleted no quote is left"
        ),
    ] = []


class QuoteOut(BaseModel):
    """Exact words of a source; the span is in the document's cleaned text, `page` where it starts."""

    model_config = ConfigDict(from_attributes=True)

    text: str
    start_char: int
    end_char: int
    page: int | None = None


class SourceOut(BaseModel):
    """A passage: characters `start_char` to `end_char` of the document's cleaned text. `page` is that of its first
    quote, or without quotes where it starts. `score` is that of the search; a reranker may order passages otherwise.
    """

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
    quotes: list[QuoteOut] = []
    deleted: Annotated[bool, Field(description="Whether its document's text, and so text and quotes, is gone")] = False


class SourcesOut(BaseModel):
    """The passages that are being read; the answer says which of them it cites."""

    sources: list[SourceOut]


class TokenOut(BaseModel):
    """A piece of the draft, which is not checked yet."""

    text: str


class VersionsOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    generation: int
    embedder: str
    answer_model: str
    draft: Annotated[str, Field(description="What became of the answer model's draft: kept, mended or replaced")]
    reranker: Annotated[str | None, Field(description="What ordered the passages found, where one is set")] = None


class AskResponse(BaseModel):
    """An answer; `sources` are what it cites, `nearest` the nearest passages when it is a refusal."""

    model_config = ConfigDict(from_attributes=True)

    question_id: uuid.UUID
    answer: str
    refused: bool
    sentences: list[SentenceOut]
    sources: list[SourceOut]
    nearest: list[SourceOut]
    versions: VersionsOut
    timings_ms: dict[str, float]


class FeedbackRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question_id: uuid.UUID
    verdict: Literal["up", "down"]
    comment: Comment | None = None
    correct_document_id: Annotated[DocumentId | None, Field(description="Where the answer would have been")] = None


class FeedbackOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    question_id: uuid.UUID
    verdict: Literal["up", "down"]
    comment: str | None
    correct_document_id: str | None
    given_at: datetime


class QuestionOut(AskResponse):
    """An answer as it was given, without what was deleted since, with what was asked and what this key thinks of it."""

    question: str
    asked_at: datetime
    topic: str | None
    segment: str | None
    filter: dict[str, Any] | None
    history: list[TurnIn]
    feedback: FeedbackOut | None = None


class QuestionSummary(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    question_id: uuid.UUID
    asked_at: datetime
    question: str
    refused: bool
    verdict: Literal["up", "down"] | None


class QuestionsResponse(BaseModel):
    questions: list[QuestionSummary]


class HitOut(BaseModel):
    document_id: str
    chunk_id: str
    title: str
    uri: str
    page: int | None
    text: str
    score: float


class SearchResponse(BaseModel):
    """`score` is that of the search; where a reranker is set, it orders the passages."""

    hits: list[HitOut]
    generation: int
    reranker: str | None


class Readiness(BaseModel):
    """What is served. `problem` says why a newer generation is not, if one was published and refused."""

    status: Literal["ready"] = "ready"
    generation: int
    documents: int
    chunks: int
    embedder: str
    answer_model: str
    reranker: str | None
    problem: str | None
