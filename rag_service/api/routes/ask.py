"""POST /ask: an answer with citations, or a refusal; logged before it is returned."""

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from sse_starlette import ServerSentEvent

from cuvee.service import ErrorBody, ErrorDetail
from rag_service.answers.answerer import Token
from rag_service.api.asking import Asking
from rag_service.api.deps import Engine, RagCaller, ServedAnswerer, ServedRetriever, Threads
from rag_service.api.events import event, event_stream
from rag_service.api.schemas import AskRequest, AskResponse, SourcesOut, TokenOut

router = APIRouter(tags=["answers"])


@router.post(
    "/ask",
    summary="Answer a question from the documents, with citations, or refuse",
    response_model=AskResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def ask(
    request: Request,
    body: AskRequest,
    caller: RagCaller,
    retriever: ServedRetriever,
    answerer: ServedAnswerer,
    engine: Engine,
    threads: Threads,
) -> AskResponse | Response:
    """With `stream`: event *sources* (the passages that are read), *token* (pieces of the draft, not checked yet),
    then *answer* (the same body as without `stream`; only this is what was found), or *error*.
    """
    asking = Asking.of(body, answerer, retriever, engine, caller.key_id)
    if body.stream:
        return event_stream(threads, lambda: _events(asking), _error)
    return await threads.run_for(request, asking.response)


def _events(asking: Asking) -> Iterator[ServerSentEvent]:
    for item in asking.responses():
        match item:
            case SourcesOut():
                yield event(item.model_dump_json(), "sources")
            case Token(text):
                yield event(TokenOut(text=text).model_dump_json(), "token")
            case AskResponse():
                yield event(item.model_dump_json(), "answer")


def _error(_status: int, kind: str, message: str) -> Iterator[ServerSentEvent]:
    body = ErrorBody(error=ErrorDetail(type=kind, message=message))
    yield event(body.model_dump_json(), "error")
