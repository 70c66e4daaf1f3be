"""rag_service over HTTP: `uvicorn --factory rag_service.api.app:create_app`."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import anyio.to_thread
from fastapi import FastAPI

from cuvee import keys
from cuvee.database import INDEX_CHANNEL, connect
from cuvee.listener import Listener
from cuvee.objects import ObjectStore
from cuvee.service import create_service
from cuvee.settings import Settings
from cuvee.telemetry import configure_logging
from rag_service.answers import models
from rag_service.answers.answerer import Answerer
from rag_service.api.deps import Workshop
from rag_service.api.encoders import Encoders
from rag_service.api.routes import ask, chat, documents, page, questions, search, uploads
from rag_service.api.schemas import Readiness
from rag_service.index import reranker
from rag_service.index.making import Making
from rag_service.index.recency import Recency
from rag_service.index.search import ServedIndex

_DESCRIPTION = "Questions answered from your own documents, every sentence cited, or refused."
_ANSWERS_AT_ONCE = 4


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service; its models and the published index are loaded when it starts.

    Raises:
        ConfigurationError: a setting is wrong, or a model it names cannot be had (at start).
    """
    configure_logging()
    chosen = settings or Settings.load()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = connect(chosen.resolved_database_url, pool_size=_ANSWERS_AT_ONCE * 2)
        encoders = Encoders(await anyio.to_thread.run_sync(Making.wanted, chosen))
        options = models.ModelOptions.of(chosen)
        model = await anyio.to_thread.run_sync(models.load, chosen.answer_model, options)
        scorer = await anyio.to_thread.run_sync(reranker.load, chosen.reranker)
        index = ServedIndex(engine, chosen.index_dir, encoders.of, scorer, Recency(chosen.recency_half_life_days))
        await anyio.to_thread.run_sync(index.refresh)
        # Where nothing could be served yet, the first generation finds its embedder loaded.
        await anyio.to_thread.run_sync(encoders.tokens, "")
        _keep_what_lives()
        app.state.engine, app.state.index, app.state.settings = engine, index, chosen
        app.state.store = ObjectStore(chosen.resolved_objects_url)
        app.state.token_count = encoders.tokens
        app.state.keys = keys.KeyRing(engine)
        app.state.answerer = Answerer(model, chosen.rewrite_questions)
        app.state.workshop = Workshop(_ANSWERS_AT_ONCE)
        listener = Listener(chosen.resolved_database_url, INDEX_CHANNEL, index.refresh)
        listener.start()
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(listener.stop)
            engine.dispose()

    uploads_may_be_larger = {("POST", "/documents"): chosen.max_upload_bytes}
    app = create_service(
        "rag_service", _DESCRIPTION, lifespan, readiness, chosen.max_request_bytes, uploads_may_be_larger
    )
    for routes in (ask, search, questions, documents, uploads, chat):
        app.include_router(routes.router)
    page.serve(app)
    return app


@cache
def _keep_what_lives() -> None:
    """From now on garbage is looked for among what came later: in all of it, that takes 0.2 s of every 300 answers.

    Once in a process: where tests start many apps in one, the next finds little that the first did not.
    """
    gc.collect()
    gc.freeze()


def readiness(app: FastAPI) -> Readiness:
    """What is served.

    Raises:
        NotReadyError: nothing can be served yet; the message says what to do.
    """
    retriever = app.state.index.retriever()
    manifest = retriever.generation.manifest
    return Readiness(
        generation=manifest.number,
        documents=manifest.documents,
        chunks=manifest.chunks,
        embedder=manifest.embedder_version,
        answer_model=app.state.answerer.model.name,
        reranker=retriever.scorer.version if retriever.scorer else None,
        problem=app.state.index.problem,
    )
