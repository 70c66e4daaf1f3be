"""What handlers are given: the caller, the parts that live on the app, and a thread to work in."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
import sqlalchemy as sa
from fastapi import Depends, Request, Response

from cuvee.keys import Caller
from cuvee.objects import ObjectStore
from cuvee.service import caller_with
from cuvee.settings import Settings
from rag_service.answers.answerer import Answerer
from rag_service.documents.readers import ReadLimits
from rag_service.index.search import Retriever

T = TypeVar("T")

_CLIENT_GONE = 499
"""The status that nginx made usual; nobody gets it, but the metrics count it."""


class Workshop:
    """Runs CPU-bound work in a few threads; what exceeds them waits without holding a thread."""

    def __init__(self, most_at_once: int) -> None:
        self._limiter = anyio.CapacityLimiter(most_at_once)

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._limiter)

    async def run_for(self, request: Request, work: Callable[..., T], *arguments: Any) -> T | Response:
        """The same for as long as the client waits: then `anyio.from_thread.check_cancelled` ends the work.

        The request's body must have been read.
        """
        with anyio.CancelScope() as scope:
            # Not a task group, which would wrap what the work raises.
            watching = asyncio.create_task(_cancel_once_gone(request, scope))
            try:
                return await self.run(work, *arguments)
            finally:
                watching.cancel()
        return Response(status_code=_CLIENT_GONE)


async def _cancel_once_gone(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _engine(request: Request) -> sa.Engine:
    engine: sa.Engine = request.app.state.engine
    return engine


async def _retriever(request: Request) -> Retriever:
    retriever: Retriever = request.app.state.index.retriever()
    return retriever


async def _answerer(request: Request) -> Answerer:
    answerer: Answerer = request.app.state.answerer
    return answerer


async def _workshop(request: Request) -> Workshop:
    workshop: Workshop = request.app.state.workshop
    return workshop


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _store(request: Request) -> ObjectStore:
    store: ObjectStore = request.app.state.store
    return store


async def _reading_limits(request: Request) -> ReadLimits:
    settings: Settings = request.app.state.settings
    return ReadLimits(settings.max_document_bytes, settings.max_document_chars)


async def _token_count(request: Request) -> Callable[[str], int]:
    count: Callable[[str], int] = request.app.state.token_count
    return count


RagCaller = Annotated[Caller, caller_with("rag")]
DocumentsCaller = Annotated[Caller, caller_with("documents")]
Engine = Annotated[sa.Engine, Depends(_engine)]
ServedRetriever = Annotated[Retriever, Depends(_retriever)]
ServedAnswerer = Annotated[Answerer, Depends(_answerer)]
Threads = Annotated[Workshop, Depends(_workshop)]
ServiceSettings = Annotated[Settings, Depends(_settings)]
Store = Annotated[ObjectStore, Depends(_store)]
ReadingLimits = Annotated[ReadLimits, Depends(_reading_limits)]
TokenCount = Annotated[Callable[[str], int], Depends(_token_count)]
