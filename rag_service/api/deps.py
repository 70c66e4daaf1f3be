"""What handlers are given: the caller, the parts that live on the app, and a thread to work in."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
import sqlalchemy as sa
from fastapi import Depends, Request

from cuvee.keys import Caller
from cuvee.service import caller_with
from rag_service.answers.answerer import Answerer
from rag_service.index.search import Retriever

T = TypeVar("T")


class Workshop:
    """Runs CPU-bound work in a few threads; what exceeds them waits without holding a thread."""

    def __init__(self, most_at_once: int) -> None:
        self._limiter = anyio.CapacityLimiter(most_at_once)

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._limiter)


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


RagCaller = Annotated[Caller, caller_with("rag")]
Engine = Annotated[sa.Engine, Depends(_engine)]
ServedRetriever = Annotated[Retriever, Depends(_retriever)]
ServedAnswerer = Annotated[Answerer, Depends(_answerer)]
Threads = Annotated[Workshop, Depends(_workshop)]
