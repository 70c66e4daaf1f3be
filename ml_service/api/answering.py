"""The way that every prediction goes, whichever door it came through."""

from collections.abc import Callable

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from cuvee.errors import InvalidInputError
from cuvee.service import caller_of
from ml_service import recording
from ml_service.dataset import Floats
from ml_service.explanations import Explanation
from ml_service.recording import Answered, Recorder
from ml_service.routing import Route, Serving

_LOOP_ROWS = 100
"""Up to so many rows are predicted on the event loop: going to a thread and back would take longer."""
_LOOP_BYTES = 64_000
"""Up to so many bytes of a body are parsed there."""
MOST_EXPLAINED = 20


async def answer(request: Request, parse: Callable[[bytes], Floats], version: int | None = None) -> Answered:
    """Check the key, parse, predict, record.

    Raises:
        UnauthorizedError, ForbiddenError: the key.
        InvalidInputError, RequestValidationError: the body.
        NotFoundError: no such version.
        NotReadyError: nothing to serve, or no room in the record.
    """
    caller = await caller_of(request, "ml")
    body = await request.body()
    inputs = parse(body) if len(body) <= _LOOP_BYTES else await run_in_threadpool(parse, body)
    route = await routed(request, version)
    recorder: Recorder = request.app.state.recorder
    await recorder.reserve(len(inputs))
    try:
        model = route.model
        found = model.answer(inputs) if len(inputs) <= _LOOP_ROWS else await run_in_threadpool(model.answer, inputs)
    except BaseException:
        recorder.release(len(inputs))
        raise
    answered = recording.answered(caller.key_id, route, inputs, found)
    await recorder.add(answered)
    return answered


async def routed(request: Request, version: int | None) -> Route:
    serving: Serving = request.app.state.serving
    if version is None:
        return serving.route()
    in_memory = serving.named(version)
    return in_memory if in_memory else await run_in_threadpool(serving.load_named, version)


async def explained(answered: Answered) -> Explanation:
    """TreeSHAP in a thread: tens of milliseconds a row for a large forest."""
    # Also making the explainer takes its time.
    return await run_in_threadpool(lambda: answered.route.model.explainer.explain(answered.inputs))


def check_explainable(samples: int) -> None:
    if samples > MOST_EXPLAINED:
        raise InvalidInputError(
            f"With explain=true a request may have at most {MOST_EXPLAINED} samples, not {samples}."
        )
