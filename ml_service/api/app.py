"""The service: `uvicorn --factory ml_service.api.app:create_app`."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import REGISTRY

from cuvee.database import MODEL_CHANNEL, connect
from cuvee.keys import KeyRing
from cuvee.listener import Listener
from cuvee.registry import Registry
from cuvee.service import create_service
from cuvee.settings import Settings
from cuvee.telemetry import configure_logging
from ml_service.api.batching import Batcher
from ml_service.api.drift_metrics import DriftMetrics
from ml_service.api.routes import features, invocations, model, observations, open_inference, page, predict
from ml_service.api.schemas import Served, failing
from ml_service.recording import Recorder
from ml_service.routing import Serving

_CHECK_SECONDS = 5.0
_SWITCH_SECONDS = 0.0005
_DESCRIPTION = "Quality of wines from eleven measurements and their colour, by the model that is champion."


def create_app(settings: Settings | None = None) -> FastAPI:
    """The app; settings are read when it is made, connections open when it starts."""
    configure_logging()
    chosen = settings or Settings.load()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Requests are answered by one thread; by default it waits 5 ms for whichever other thread computes, again and
        # again while rows are written.
        sys.setswitchinterval(_SWITCH_SECONDS)
        # By default MLflow's client tries for minutes; here the next check is seconds away.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        engine = connect(chosen.resolved_database_url)
        serving = Serving(Registry(chosen.resolved_mlflow_uri))
        app.state.engine, app.state.keys, app.state.serving = engine, KeyRing(engine), serving
        listener = Listener(chosen.resolved_database_url, MODEL_CHANNEL, serving.refresh, _CHECK_SECONDS)
        recorder = Recorder(engine, chosen.prediction_flush_seconds, chosen.prediction_queue_rows)
        app.state.recorder, app.state.batcher = recorder, Batcher()
        recorder.start()
        listener.start()
        drift_metrics = DriftMetrics(engine)
        REGISTRY.register(drift_metrics)
        yield
        REGISTRY.unregister(drift_metrics)
        listener.stop()
        recorder.stop()
        engine.dispose()

    hot = [*predict.router.routes, *invocations.router.routes]
    app = create_service("ml_service", _DESCRIPTION, lifespan, _readiness, chosen.max_request_bytes, hot=hot)
    app.include_router(predict.router)
    app.include_router(invocations.router)
    app.include_router(open_inference.router)
    app.include_router(observations.router)
    app.include_router(model.router)
    app.include_router(features.router)
    page.serve(app)
    return app


def _readiness(app: FastAPI) -> Served:
    serving: Serving = app.state.serving
    served = serving.model
    return Served(name=served.name, version=served.version, since=served.since, **failing(serving.failure))
