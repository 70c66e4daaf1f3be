"""The way that every prediction goes, whichever door it came through."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from cuvee.errors import InvalidInputError
from cuvee.service import caller_of
from ml_service import recording
from ml_service.api.batching import Batcher
from ml_service.dataset import Floats
from ml_service.explanations import Explanation
from ml_service.inference import Predicted
from ml_service.recording import Answered, Recorder
from ml_service.routing import Route, Serving

_LOOP_ROWS = 100
"""Up to so many rows are predicted on the event loop: going to a thread and back would take longer."""
_LOOP_BYTES = 64_000
"""Up to so many bytes of a body are parsed there."""
MOST_EXPLAINED = 20

Query = TypeVar("Query", bound=BaseModel)


async def answer(
    request: Request, parse: Callable[[bytes], Floats], version: int | None = None, record: bool = True
) -> Answered:
    """Check the key, parse, predict, record; without `record` there is no row, and no challenger takes part.

    Raises:
        UnauthorizedError, ForbiddenError: the key.
        InvalidInputError, RequestValidationError: the body.
        NotFoundError: no such version.
        NotReadyError: nothing to serve, or no room in the record.
    """
    caller = await caller_of(request, "ml")
    body = await request.body()
    inputs = parse(body) if len(body) <= _LOOP_BYTES else await run_in_threadpool(parse, body)
    route = await routed(request, version, record)
    if not record:
        return recording.answered(caller.key_id, route, inputs, await _found(request, route, inputs))
    recorder: Recorder = request.app.state.recorder
    await recorder.reserve(len(inputs))
    try:
        found = await _found(request, route, inputs)
    except BaseException:
        recorder.release(len(inputs))
        raise
    answered = recording.answered(caller.key_id, route, inputs, found)
    await recorder.add(answered)
    return answered


async def _found(request: Request, route: Route, inputs: Floats) -> Predicted:
    if len(inputs) > _LOOP_ROWS:
        return await run_in_threadpool(route.model.answer, inputs)
    batcher: Batcher = request.app.state.batcher
    return await batcher.answer(route.model, inputs)


def query(request: Request, asked: type[Query]) -> Query:
    """The query string as this model. FastAPI's own way, by parameters of the handler, takes longer than predicting.

    Raises:
        RequestValidationError: it does not fit.
    """
    if not request.scope["query_string"]:
        return asked()
    try:
        return asked.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in error.errors()]) from error


def query_parameters(asked: type[BaseModel]) -> list[dict[str, Any]]:
    """The same for the OpenAPI document."""
    described = asked.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in described.items()]


async def routed(request: Request, version: int | None, record: bool = True) -> Route:
    serving: Serving = request.app.state.serving
    if version is None:
        # A trial learns from its rows: what leaves none is no part of it.
        return serving.route() if record else Route(serving.model, "champion")
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
