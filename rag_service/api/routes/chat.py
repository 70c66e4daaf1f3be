"""OpenAI's chat completions: any client of that protocol asks our documents, and shows what they say."""

import json
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sse_starlette import ServerSentEvent
from starlette.exceptions import HTTPException

from cuvee.errors import CuveeError, NotFoundError
from cuvee.service import DATABASE_DOWN, told
from rag_service.api.asking import Asking
from rag_service.api.completions import Reply, ask_request
from rag_service.api.deps import (
    Engine,
    RagCaller,
    ServedAnswerer,
    ServedRetriever,
    ServiceSettings,
    Threads,
    TokenCount,
)
from rag_service.api.events import event, event_stream
from rag_service.api.openai_schemas import ChatRequest, Chunk, ChunkChoice, Completion, Model, Models
from rag_service.documents import catalogue

_MODEL = "cuvee"
_CODES = {"unauthorized": "invalid_api_key", "not_found": "model_not_found", "too_large": "context_length_exceeded"}


def _error_body(status: int, kind: str, message: str) -> dict[str, Any]:
    type_ = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": type_, "param": None, "code": _CODES.get(kind, kind)}}


class OpenAIRoute(APIRoute):
    """A route whose errors have the form that OpenAI's clients know."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except (CuveeError, RequestValidationError, HTTPException, *DATABASE_DOWN) as error:
                status, kind, message = told(error)
                # What is wrong with a request is always 400 there.
                shown = 400 if status in (413, 422) else status
                headers = {"Retry-After": "2"} if shown == 503 else None
                return JSONResponse(_error_body(shown, kind, message), shown, headers)

        return handled


router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"], route_class=OpenAIRoute)


@router.get("/models", summary="`cuvee` answers from all documents, `cuvee/<topic>` from those of one topic")
def list_models(_: RagCaller, engine: Engine) -> Models:
    return Models(data=[Model(id=name, created=0) for name in _models(engine)])


@router.get("/models/{model:path}", summary="One model")
def show_model(model: str, _: RagCaller, engine: Engine) -> Model:
    _topic(model, engine)
    return Model(id=model, created=0)


@router.post("/chat/completions", summary="Answer the last message from the documents", response_model=Completion)
async def complete(
    request: Request,
    body: ChatRequest,
    caller: RagCaller,
    retriever: ServedRetriever,
    answerer: ServedAnswerer,
    engine: Engine,
    threads: Threads,
    settings: ServiceSettings,
    token_count: TokenCount,
) -> Completion | Response:
    """Streamed or not, only what was checked against the passages is sent: a client cannot take words back."""
    asked = ask_request(body, await threads.run(_topic, body.model, engine))
    asking = Asking.of(asked, answerer, retriever, engine, caller.key_id)
    created, prompt = int(time.time()), "\n".join([*(turn.text for turn in asked.history), asked.question])

    def reply() -> Reply:
        return Reply(asking.response(), body.model, created, settings.public_rag_url, prompt, token_count)

    if body.stream:
        return event_stream(threads, lambda: _events(reply, body), _error)
    return await threads.run_for(request, lambda: reply().whole())


def _events(reply: Callable[[], Reply], body: ChatRequest) -> Iterator[ServerSentEvent]:
    made = reply()
    first = ChunkChoice(delta={"role": "assistant", "content": ""})
    yield _event(Chunk(id=made.id, created=made.created, model=made.model, choices=[first]))
    for piece in made.pieces(bool(body.stream_options and body.stream_options.include_usage)):
        yield _event(piece)
    yield event("[DONE]")


def _event(chunk: Chunk) -> ServerSentEvent:
    return event(chunk.model_dump_json(exclude={"sources", "question_id"} if chunk.sources is None else None))


def _error(status: int, kind: str, message: str) -> Iterator[ServerSentEvent]:
    yield event(json.dumps(_error_body(status, kind, message)))


def _models(engine: sa.Engine) -> list[str]:
    topics = dict.fromkeys(count.topic for count in catalogue.segments(engine) if count.indexed)
    return [_MODEL, *(f"{_MODEL}/{topic}" for topic in topics)]


def _topic(model: str, engine: sa.Engine) -> str | None:
    """The topic that a model answers from; None: all of them.

    Raises:
        NotFoundError: no such model.
    """
    if model == _MODEL:
        return None
    if model not in _models(engine):
        raise NotFoundError(f"The model '{model}' does not exist; GET /v1/models lists those that do.")
    return model.removeprefix(f"{_MODEL}/")
