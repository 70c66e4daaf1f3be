"""Fixtures of the served app: a small library that is published, and clients with a key."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from cuvee import keys
from cuvee.settings import Settings
from rag_service.api.app import create_app
from tests.integration.rag_service.serving import LIBRARY, Library, build, passages, publish

KEY = "cuvee_for-tests"


@pytest.fixture
def key_id(engine: sa.Engine) -> int:
    keys.ensure(engine, "tester", KEY)
    keys.ensure(engine, "wine", "cuvee_wine-only", ("ml",))
    return keys.KeyRing(engine).authenticate(f"Bearer {KEY}", "rag").key_id


@pytest.fixture
def library(engine: sa.Engine, settings: Settings, key_id: int) -> Library:
    """LIBRARY, published as generation 1."""
    records = passages(LIBRARY, settings)
    publish(engine, build(records, settings, 1))
    return Library(records, key_id)


@pytest.fixture
def serve(key_id: int) -> Iterator[Callable[[Settings], TestClient]]:
    """Start the app on given settings; stopped after the test."""
    with ExitStack() as running:

        def start(settings: Settings) -> TestClient:
            client = TestClient(create_app(settings), headers={"authorization": f"Bearer {KEY}"})
            return running.enter_context(client)

        yield start


@pytest.fixture
def client(library: Library, settings: Settings, serve: Callable[[Settings], TestClient]) -> TestClient:
    """The app, serving the library."""
    return serve(settings)
