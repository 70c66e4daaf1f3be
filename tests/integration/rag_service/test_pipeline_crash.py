"""A document that ends the process that reads it (out of memory, a crash of native code) fails alone."""

import os
import signal
import sys

import pytest
import sqlalchemy as sa
from pyspark import cloudpickle

from cuvee.database import documents
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.documents.readers import ReadLimits
from rag_service.pipeline import reading as steps

pytestmark = pytest.mark.integration

DEADLY_SIZE = 666


class _Deadly(int):
    """A limit on bytes; a process that compares a size of DEADLY_SIZE with it is killed."""

    def __lt__(self, size: int) -> bool:
        if size == DEADLY_SIZE:
            os.kill(os.getpid(), signal.SIGKILL)
        return int(self) < size


@pytest.fixture
def ready(settings: Settings, spark_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CUVEE_SPARK_URL", spark_url)
    monkeypatch.setenv("CUVEE_SETTLE_SECONDS", "0")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    monkeypatch.setattr(steps, "ReadLimits", lambda most_bytes, most_chars: ReadLimits(_Deadly(most_bytes), most_chars))
    return Settings.load()


def drop(settings: Settings, name: str, content: str) -> None:
    folder = settings.inbox_dir / "cellar" / "safety"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


def states(engine: sa.Engine) -> dict[str, tuple[str, str | None]]:
    with engine.connect() as connection:
        rows = connection.execute(sa.select(documents.c.uri, documents.c.state, documents.c.error)).all()
    return {uri: (state, error) for uri, state, error in rows}


def test_a_document_over_which_workers_die_fails_and_the_others_are_indexed(engine: sa.Engine, ready: Settings) -> None:
    for number in range(4):
        drop(ready, f"good-{number}.txt", f"Press number {number} is washed every evening after the last load.")
    drop(ready, "deadly.txt", "x" * DEADLY_SIZE)
    pipeline.land_documents(ready)

    batch = pipeline.prepare_chunks(ready)

    assert {name: batch[name] for name in ("documents", "failed", "chunks")} == {
        "documents": 5,
        "failed": 1,
        "chunks": 4,
    }
    pipeline.publish_generation(pipeline.embed_chunks(batch, ready), ready)
    found = states(engine)
    state, error = found.pop("deadly.txt")
    assert state == "failed"
    assert error is not None and "ended the process" in error
    assert found == {f"good-{number}.txt": ("indexed", None) for number in range(4)}
