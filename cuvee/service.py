"""What both FastAPI services share: errors with the right status, API keys, health, metrics, limits on input."""

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, request_response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cuvee.errors import CuveeError
from cuvee.keys import Caller, KeyRing
from cuvee.keys import Scope as KeyScope
from cuvee.telemetry import expose_metrics

log = logging.getLogger(__name__)

STATUS_BY_KIND = {
    "invalid_input": 422,
    "unreadable_document": 422,
    "data_quality": 422,
    "too_large": 413,
    "not_found": 404,
    "unauthorized": 401,
    "forbidden": 403,
    "not_ready": 503,
}
DATABASE_DOWN = (OperationalError, InterfaceError)
_KIND_BY_STATUS = {400: "invalid_input", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class ErrorDetail(BaseModel):
    type: str
    message: str


class ErrorBody(BaseModel):
    """Body of every answer that is not a success."""

    error: ErrorDetail


class Liveness(BaseModel):
    status: str = "alive"


def error_response(status: int, kind: str, message: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status == 503:
        headers["Retry-After"] = "2"
    body = ErrorBody(error=ErrorDetail(type=kind, message=message))
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


def told(error: Exception) -> tuple[int, str, str]:
    """Status, kind and message under which a caller hears of `error`; what is not the caller's fault is logged."""
    status, kind, message = _told(error)
    # It may name what came, where JSON may hold a lone surrogate, which has no UTF-8.
    return status, kind, message.encode(errors="backslashreplace").decode()


def _told(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, CuveeError):
        status = STATUS_BY_KIND.get(error.kind, 500)
        if status == 500:
            log.error("request failed: %s", error, exc_info=error)
        return status, error.kind, str(error)
    if isinstance(error, RequestValidationError):
        return 422, "invalid_input", _problems(error)
    if isinstance(error, HTTPException):
        return error.status_code, _KIND_BY_STATUS.get(error.status_code, "http_error"), str(error.detail)
    if isinstance(error, DATABASE_DOWN):
        log.error("the database does not answer: %s", error)
        return 503, "not_ready", "The database does not answer; nothing was recorded. Try again shortly."
    # Its text may hold internals, so it stays out of the answer.
    return 500, "internal_error", "Something broke here; the service's log has the details."


class RawRoute(APIRoute):
    """For handlers that take the `Request` and give a `Response`: called without what FastAPI does for all others.

    Finding out that there are no dependencies, and closing them, takes longer than a prediction.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = request_response(self.get_route_handler())

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


class Shortcut:
    """Takes requests straight to these routes, by method and path: to find one takes as long as a prediction."""

    def __init__(self, app: ASGIApp, routes: Sequence[RawRoute]) -> None:
        self._app = app
        self._routes = {
            (method, route.path): (route, route.get_route_handler()) for route in routes for method in route.methods
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], handle = found
        request = Request(scope, receive, send)
        try:
            response = await handle(request)
        except (CuveeError, RequestValidationError, HTTPException, *DATABASE_DOWN) as error:
            response = _on_error(request, error)
        await response(scope, receive, send)


def route_telling(
    answer: Callable[[int, str], tuple[int, dict[str, Any]]], kind: type[APIRoute] = APIRoute
) -> type[APIRoute]:
    """A kind of route that tells errors as another protocol does: `answer` makes status and body of ours."""

    class Route(kind):  # type: ignore[valid-type, misc]
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle: Callable[[Request], Coroutine[Any, Any, Response]] = super().get_route_handler()

            async def telling(request: Request) -> Response:
                try:
                    return await handle(request)
                except (CuveeError, RequestValidationError, HTTPException, *DATABASE_DOWN) as error:
                    status, kind, message = told(error)
                    told_status, body = answer(status, message)
                    headers = error_response(status, kind, message).headers
                    kept = {name: headers[name] for name in ("WWW-Authenticate", "Retry-After") if name in headers}
                    return JSONResponse(body, status_code=told_status, headers=kept)

            return telling

    return Route


def _on_error(_: Request, error: Exception) -> JSONResponse:
    return error_response(*told(error))


def _problems(error: RequestValidationError) -> str:
    parts = []
    for problem in error.errors()[:10]:
        where = ".".join(str(part) for part in problem["loc"] if part != "body")
        came = problem.get("input")
        shown = (
            f", not {came!r}"[:60]
            if isinstance(came, str | int | float | None) and problem["type"] != "missing"
            else ""
        )
        parts.append(f"{where or 'body'}: {problem['msg']}{shown}")
    return "; ".join(parts)


class BodyLimit:
    """Refuses request bodies over `most_bytes`, also when no length was announced.

    `exceptions` are other limits, by method and path.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, exceptions: Mapping[tuple[str, str], int] | None = None) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._exceptions = exceptions or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most_bytes = self._exceptions.get((scope["method"], scope["path"]), self._most_bytes)
        message = f"The request body may have at most {most_bytes} bytes."
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > most_bytes:
            await error_response(413, "too_large", message)(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            part = await receive()
            received += len(part.get("body", b""))
            if received > most_bytes:
                raise HTTPException(413, message)
            return part

        await self._app(scope, limited, send)


_bearer = HTTPBearer(auto_error=False, description="API key, as printed by `make demo`")


def caller_with(scope: KeyScope) -> Any:
    """Dependency: the caller behind the request's API key, which must have `scope`. Needs `app.state.keys`."""

    async def authenticate(request: Request, _: Annotated[Any, Depends(_bearer)]) -> Caller:
        return await caller_of(request, scope)

    return Depends(authenticate)


async def caller_of(request: Request, scope: KeyScope) -> Caller:
    """The same without a dependency, for handlers that are called thousands of times a second."""
    keys: KeyRing = request.app.state.keys
    authorization = request.headers.get("authorization")
    remembered = keys.remembered(authorization, scope)
    return remembered if remembered else await run_in_threadpool(keys.authenticate, authorization, scope)


def health_router(readiness: Callable[[FastAPI], BaseModel]) -> APIRouter:
    """`/health/live` and `/health/ready`; `readiness` names what is served or raises NotReadyError."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", summary="Does the process live?")
    async def live() -> Liveness:
        return Liveness()

    @router.get("/ready", summary="Can it answer, and with what?", responses={503: {"model": ErrorBody}})
    def ready(request: Request) -> Any:
        return readiness(request.app)

    return router


def create_service(
    title: str,
    description: str,
    lifespan: Any,
    readiness: Callable[[FastAPI], BaseModel],
    max_request_bytes: int,
    larger_bodies: Mapping[tuple[str, str], int] | None = None,
    hot: Sequence[BaseRoute] = (),
) -> FastAPI:
    """An app with health, metrics, error answers and limits; the caller adds its routers.

    `larger_bodies` has the limits, in bytes, of the routes that take more, by method and path; `hot` are routes among
    which those of kind `RawRoute` are taken to at once.
    """
    errors: dict[int | str, dict[str, Any]] = {code: {"model": ErrorBody} for code in (401, 403, 413, 422, 503)}
    # Its documentation page brings its own scripts; FastAPI's loads them from elsewhere, which fails offline.
    app: FastAPI = FastAPIOffline(
        title=title,
        description=description,
        lifespan=lifespan,
        responses=errors,
        redoc_url=None,
        swagger_ui_parameters={"persistAuthorization": True},
    )
    # The one added first is asked last.
    app.add_middleware(Shortcut, routes=[route for route in hot if isinstance(route, RawRoute)])
    app.add_middleware(BodyLimit, most_bytes=max_request_bytes, exceptions=larger_bodies)
    for kind in (CuveeError, RequestValidationError, HTTPException, *DATABASE_DOWN, Exception):
        app.add_exception_handler(kind, _on_error)
    app.include_router(health_router(readiness))
    expose_metrics(app)
    return app
