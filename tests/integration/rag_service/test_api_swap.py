"""A new generation takes over while people ask, and a bad one does not."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from cuvee.errors import ConfigurationError
from cuvee.settings import Settings
from rag_service.api.app import create_app
from rag_service.index.manifest import read_manifest
from rag_service.index.model_files import ModelFiles
from tests.integration.rag_service.serving import LIBRARY, build, passages, publish

pytestmark = pytest.mark.integration

NEW = {"pump": (("cellar", "tools", "Pumps"), "The new pump was named Hortense by the night shift of the cellar.")}
PUMP_QUESTION = "What is the name of the new pump?"


def ready(client: TestClient) -> dict:
    return client.get("/health/ready").json()


def eventually(condition: Callable[[], bool], timeout_seconds: float = 15) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_published_generation_is_served_without_a_restart_and_no_request_fails(
    client: TestClient, settings: Settings, engine: sa.Engine
) -> None:
    folder = build(passages({**LIBRARY, **NEW}, settings), settings, 2)
    answers: list[tuple[int, int, bool]] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            answer = client.post("/ask", json={"question": PUMP_QUESTION})
            body = answer.json()
            answers.append((answer.status_code, body["versions"]["generation"], "Hortense" in body["answer"]))

    threads = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert eventually(lambda: len(answers) >= 6)
        publish(engine, folder)
        published_at = time.monotonic()
        assert eventually(lambda: ready(client)["generation"] == 2)
        seconds = time.monotonic() - published_at
        seen = len(answers)
        assert eventually(lambda: len(answers) >= seen + 6)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=20)

    assert {status for status, _, _ in answers} == {200}
    # Each answer comes whole from one generation: the old one does not know the pump, the new one does.
    assert {(number, found) for _, number, found in answers} == {(1, False), (2, True)}
    assert seconds < 5


def test_a_damaged_generation_is_not_served_and_readiness_says_so(
    client: TestClient, settings: Settings, engine: sa.Engine
) -> None:
    damaged = build(passages({**LIBRARY, **NEW}, settings), settings, 2)
    named = next(name for name in read_manifest(damaged).files if name.endswith("vectors.faiss"))
    vectors = settings.index_dir / named
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    publish(engine, damaged)

    assert eventually(lambda: ready(client)["problem"] is not None)
    state = ready(client)
    assert state["generation"] == 1
    assert "vectors.faiss" in state["problem"]
    assert client.post("/ask", json={"question": PUMP_QUESTION}).json()["versions"]["generation"] == 1

    publish(engine, build(passages({**LIBRARY, **NEW}, settings), settings, 3))
    assert eventually(lambda: ready(client)["generation"] == 3)
    assert ready(client)["problem"] is None


def test_a_generation_of_another_embedder_is_not_served(
    client: TestClient, settings: Settings, engine: sa.Engine
) -> None:
    publish(engine, build(passages(LIBRARY, settings), settings, 2, version="all-MiniLM-L6-v2@000000000000/256"))

    assert eventually(lambda: ready(client)["problem"] is not None)
    assert ready(client)["generation"] == 1
    assert "cuvee index rebuild" in ready(client)["problem"]


def test_a_generation_of_another_embedder_is_asked_by_that_one(
    client: TestClient, settings: Settings, engine: sa.Engine, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.symlink_to(ModelFiles.locate(settings.embedder, settings.chunk_tokens).folder)
    before = ready(client)["embedder"]
    made_otherwise = settings.model_copy(update={"embedder": str(other)})

    publish(engine, build(passages({**LIBRARY, **NEW}, settings), made_otherwise, 2))

    assert eventually(lambda: ready(client)["generation"] == 2)
    assert ready(client)["problem"] is None
    answer = client.post("/ask", json={"question": PUMP_QUESTION}).json()
    assert "Hortense" in answer["answer"]
    assert answer["versions"]["embedder"] == ready(client)["embedder"] == before.replace(settings.embedder, str(other))


@pytest.mark.parametrize("reference", ["transformers:/no/such/model.gguf", "transformers:", "extractiv", "openai:gpt"])
def test_an_answer_model_that_cannot_be_had_stops_the_start_and_names_the_setting(
    reference: str, settings: Settings, engine: sa.Engine
) -> None:
    app = create_app(settings.model_copy(update={"answer_model": reference}))

    with pytest.raises(ConfigurationError, match="CUVEE_ANSWER_MODEL"), TestClient(app):
        pass


def test_an_embedder_that_cannot_be_had_stops_the_start_and_names_the_setting(
    settings: Settings, engine: sa.Engine
) -> None:
    app = create_app(settings.model_copy(update={"embedder": str(settings.home)}))

    with pytest.raises(ConfigurationError, match="CUVEE_EMBEDDER"), TestClient(app):
        pass
