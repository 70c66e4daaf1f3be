"""Server-sent events out of work that runs in a thread; the work ends when the client goes away."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing

import anyio
import anyio.from_thread
from anyio.streams.memory import MemoryObjectSendStream
from sse_starlette import EventSourceResponse, ServerSentEvent

from cuvee.service import told
from rag_service.api.deps import Workshop

log = logging.getLogger(__name__)

PING_SECONDS = 10
_SEND_TIMEOUT_SECONDS = 30
# More events than an answer has, so that a client that reads slowly does not keep a thread of the workshop.
_MOST_BUFFERED = 2048

Events = Iterator[ServerSentEvent]
OnError = Callable[[int, str, str], Events]
"""What a client is told of a failure: its status, kind and message."""


def event(data: str, name: str | None = None) -> ServerSentEvent:
    return ServerSentEvent(data, event=name, sep="\n")


def event_stream(threads: Workshop, work: Callable[[], Events], on_error: OnError) -> EventSourceResponse:
    """Send what `work` yields as it comes, and comments in between so that nobody thinks the connection dead."""
    send, receive = anyio.create_memory_object_stream[ServerSentEvent](_MOST_BUFFERED)

    async def produce() -> None:
        async with send:
            await threads.run(_pump, work, on_error, send)

    return EventSourceResponse(
        receive, data_sender_callable=produce, ping=PING_SECONDS, send_timeout=_SEND_TIMEOUT_SECONDS, sep="\n"
    )


def _pump(work: Callable[[], Events], on_error: OnError, send: MemoryObjectSendStream[ServerSentEvent]) -> None:
    try:
        with closing(_told(work, on_error)) as events:  # type: ignore[type-var]
            for one in events:
                anyio.from_thread.check_cancelled()
                anyio.from_thread.run(send.send, one)
    except (CancelledError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        log.info("a client went away before its answer was whole")


def _told(work: Callable[[], Events], on_error: OnError) -> Events:
    """What `work` yields; an error of its becomes what `on_error` yields, for the status went out long ago."""
    try:
        yield from work()
    except Exception as error:
        status, kind, message = told(error)
        if kind == "internal_error":
            log.exception("an answer failed while it was sent")
        yield from on_error(status, kind, message)
