"""Logs and metrics, set up alike in every process of ours."""

import logging
import time

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_UNCOUNTED = ("/metrics", "/health/")
_REQUESTS = Counter("http_requests_total", "Requests answered, or broken off.", ["method", "handler", "status"])
_SECONDS = Histogram(
    "http_request_duration_seconds",
    "From a request's head to the end of its answer.",
    ["method", "handler"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)


def configure_logging() -> None:
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    # One line per request to MLflow or a health check is noise that hides what matters.
    for noisy in ("httpx", "urllib3", "alembic.runtime.plugins"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def expose_metrics(app: FastAPI) -> None:
    """Request counts and latencies by route and status at `GET /metrics`, in Prometheus' text format."""
    app.add_middleware(_Metered)

    @app.get("/metrics", tags=["health"], summary="Metrics for Prometheus", response_class=Response)
    def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class _Metered:
    """Counts and times requests.

    prometheus-fastapi-instrumentator looks for the route once more than the router does, which took a sixth of the time
    that a prediction takes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_UNCOUNTED):
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            # The router has left it there. A path of nobody's choosing must not become a label.
            handler = getattr(scope.get("route"), "path", "none")
            _REQUESTS.labels(scope["method"], handler, f"{status // 100}xx").inc()
            _SECONDS.labels(scope["method"], handler).observe(time.perf_counter() - started)
