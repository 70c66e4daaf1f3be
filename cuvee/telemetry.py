"""Logs and metrics, set up alike in every process of ours."""

import logging

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_logging() -> None:
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    # One line per request to MLflow or a health check is noise that hides what matters.
    for noisy in ("httpx", "urllib3", "alembic.runtime.plugins"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def expose_metrics(app: FastAPI) -> None:
    """Request counts, sizes and latencies by route and status at `GET /metrics`, in Prometheus' text format."""
    Instrumentator(excluded_handlers=["/metrics", "/health/.*"]).instrument(app).expose(app, tags=["health"])
