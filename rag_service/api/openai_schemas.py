"""What OpenAI's clients send and expect: chat completions and models, with our sources added."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rag_service.api.schemas import Filter, Place, SourceOut

MOST_MESSAGES = 500


class TextPart(BaseModel):
    type: Literal["text", "input_text"]
    text: str


class Message(BaseModel):
    """Messages of the system, of tools and the like are let through and not read."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """Parameters that do not apply here (temperature, max_tokens, tools ...) are accepted and have no effect."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(max_length=300)
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    segment: Place | None = None
    filter: Filter | None = None
    top_k: int = Field(8, ge=1, le=50)


class UrlCitation(BaseModel):
    """Characters `start_index` to `end_index` of the message are the mark of a citation, like `[1]`."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(BaseModel):
    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[Annotation]


class Choice(BaseModel):
    index: int = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: Literal["stop"] = "stop"


class Usage(BaseModel):
    """Tokens as the embedder counts them: of the question and the turns before it, and of the message."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """OpenAI's form, and besides it what was cited and the id under which feedback is given."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    sources: list[SourceOut]
    question_id: str


class ChunkChoice(BaseModel):
    index: int = 0
    delta: dict[str, Any]
    logprobs: None = None
    finish_reason: Literal["stop"] | None = None


class Chunk(BaseModel):
    """One piece of a streamed completion; the last ones carry annotations, sources and, if asked for, the usage."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    sources: list[SourceOut] | None = None
    question_id: str | None = None


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "cuvee"


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]
