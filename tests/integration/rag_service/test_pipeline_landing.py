"""Landing with a real PostgreSQL and real files: content is identity; a kill anywhere loses and doubles nothing."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cuvee.database import documents
from cuvee.objects import ObjectStore
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.documents import ledger

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_SETTLE_SECONDS", "0")


@pytest.fixture
def ready(taken_at_once: None, engine: sa.Engine, settings: Settings) -> Settings:
    return Settings.load()


def drop(settings: Settings, name: str, content: str | bytes, folder: str = "cellar/safety") -> Path:
    path = settings.inbox_dir / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def states(engine: sa.Engine) -> dict[str, list[str]]:
    """States at each place, in the order of landing."""
    found: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for row in connection.execute(sa.select(documents).order_by(documents.c.landed_at)):
            found.setdefault(f"{row.topic}/{row.segment}/{row.uri}", []).append(row.state)
    return found


def set_state(engine: sa.Engine, uri: str, state: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(documents).where(documents.c.uri == uri).values(state=state, error="old reason"))


def counts(**changed: int) -> dict[str, int]:
    return {"landed": 0, "duplicates": 0, "superseded": 0, "left": 0, "failed": 0} | changed


def test_a_file_becomes_an_object_and_a_row_and_leaves_the_inbox(engine: sa.Engine, ready: Settings) -> None:
    path = drop(ready, "co2.txt", "Leave at once.")
    sha256 = hashlib.sha256(b"Leave at once.").hexdigest()

    receipt = pipeline.land_documents(ready)

    assert (receipt, path.exists()) == (counts(landed=1), False)
    with engine.connect() as connection:
        row = connection.execute(sa.select(documents)).one()
    joined = f"cellar\0safety\0co2.txt\0{sha256}"
    assert row.document_id == hashlib.sha256(joined.encode()).hexdigest()[:32]
    assert (row.state, row.sha256, row.size_bytes) == ("landed", sha256, 14)
    assert ObjectStore(ready.resolved_objects_url).read(sha256) == b"Leave at once."


@pytest.mark.parametrize(
    ("state", "expected"), [("landed", "duplicates"), ("indexed", "duplicates"), ("failed", "landed")]
)
def test_the_same_content_again_is_a_duplicate_unless_it_failed(
    engine: sa.Engine, ready: Settings, state: str, expected: str
) -> None:
    drop(ready, "a.txt", "one")
    pipeline.land_documents(ready)
    set_state(engine, "a.txt", state)
    again = drop(ready, "a.txt", "one")

    receipt = pipeline.land_documents(ready)

    assert (receipt, again.exists()) == (counts(**{expected: 1}), False)
    assert states(engine) == {"cellar/safety/a.txt": ["landed" if expected == "landed" else state]}


def test_new_content_at_a_place_supersedes_the_old_and_the_old_can_come_back(
    engine: sa.Engine, ready: Settings
) -> None:
    for content in ("one", "two", "one"):
        drop(ready, "a.txt", content)
        receipt = pipeline.land_documents(ready)

    assert receipt == counts(landed=1, superseded=1)
    assert states(engine) == {"cellar/safety/a.txt": ["superseded", "landed"]}


def test_a_file_that_lands_while_another_content_of_its_place_does_waits_and_supersedes_it(
    engine: sa.Engine, ready: Settings
) -> None:
    stored = ObjectStore(ready.resolved_objects_url).put(io.BytesIO(b"one"))
    drop(ready, "a.txt", "two")
    receipts: list[dict[str, int]] = []
    from_inbox = threading.Thread(target=lambda: receipts.append(pipeline.land_documents(ready)))

    with engine.begin() as upload:
        ledger.land(upload, ledger.Place("cellar", "safety", "a.txt"), stored, source=ledger.UPLOAD)
        from_inbox.start()
        from_inbox.join(timeout=1.0)
        assert receipts == [], "it did not wait"
    from_inbox.join()

    assert receipts == [counts(landed=1, superseded=1)]
    assert states(engine) == {"cellar/safety/a.txt": ["superseded", "landed"]}


def test_the_same_content_at_two_places_is_two_documents_and_one_object(engine: sa.Engine, ready: Settings) -> None:
    drop(ready, "a.txt", "one")
    drop(ready, "a.txt", "one", "cellar/other")

    assert pipeline.land_documents(ready) == counts(landed=2)
    assert len(states(engine)) == 2
    assert len([p for p in (ready.data_dir / "objects").rglob("*") if p.is_file()]) == 1


def test_a_file_that_changed_while_it_was_read_is_left_for_the_next_round(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop(ready, "a.txt", "one")
    put = ObjectStore.put

    def put_slowly(store: ObjectStore, stream: io.BufferedReader) -> object:
        stored = put(store, stream)
        path.write_bytes(b"one and more")
        return stored

    monkeypatch.setattr(ObjectStore, "put", put_slowly)
    assert pipeline.land_documents(ready) == counts(left=1)
    assert (states(engine), path.exists()) == ({}, True)

    monkeypatch.undo()
    monkeypatch.setenv("CUVEE_SETTLE_SECONDS", "0")
    assert pipeline.land_documents(ready) == counts(landed=1)


def test_a_file_that_changed_after_it_was_recorded_is_not_taken_out(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop(ready, "a.txt", "one")
    land = ledger.land

    def land_slowly(*args: object) -> object:
        path.write_bytes(b"two")
        return land(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "land", land_slowly)

    assert pipeline.land_documents(ready) == counts(landed=1, left=1)
    assert path.read_bytes() == b"two"


def test_one_file_that_cannot_be_read_does_not_stop_the_others(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    locked = drop(ready, "a.txt", "one")
    drop(ready, "b.txt", "two")
    real_open = os.open

    def open_(path: Path, flags: int, *rest: int) -> int:
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, *rest)

    monkeypatch.setattr(os, "open", open_)

    assert pipeline.land_documents(ready) == counts(landed=1, failed=1)
    assert states(engine) == {"cellar/safety/b.txt": ["landed"]}
    assert "cellar/safety/a.txt stays in the inbox, it cannot be read: Permission denied" in caplog.text


@pytest.mark.parametrize("call", ["open", "unlink"])
def test_files_that_stay_stand_in_no_others_way(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setenv("CUVEE_BATCH_DOCUMENTS", "1")
    staying = drop(ready, "a.txt", "cannot be taken")
    drop(ready, "b.txt", "fine")
    owner: Any = os if call == "open" else Path
    real = getattr(owner, call)

    def refusing(path: Any, *args: Any, **kwargs: Any) -> Any:
        if Path(path) == staying:
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(owner, call, refusing)

    pipeline.land_documents(Settings.load())

    assert states(engine)["cellar/safety/b.txt"] == ["landed"]


def test_a_full_store_fails_the_task_and_not_the_file(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop(ready, "a.txt", "one")

    def no_space(*_: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ObjectStore, "put", no_space)

    with pytest.raises(OSError, match="No space left"):
        pipeline.land_documents(ready)
    assert (states(engine), path.exists()) == ({}, True)


def test_a_round_takes_no_more_files_than_the_setting_says(
    engine: sa.Engine, ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUVEE_BATCH_DOCUMENTS", "2")
    for name in ("a", "b", "c"):
        drop(ready, f"{name}.txt", name)
    small = Settings.load()

    assert [pipeline.land_documents(small)["landed"] for _ in range(3)] == [2, 1, 0]


CHILD = """
import os, signal, sys
from pathlib import Path
from cuvee.settings import Settings
from rag_service.documents import landing, ledger
from cuvee.objects import ObjectStore

countdown = int(sys.argv[1])

def dies(module, name):
    real = getattr(module, name)
    def wrapped(*args, **kwargs):
        global countdown
        for _ in range(2):  # once before the call, once after it
            if _ == 1:
                result = real(*args, **kwargs)
            countdown -= 1
            if countdown == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(module, name, wrapped)

dies(ObjectStore, "put")
dies(ledger, "land")
dies(landing, "_take_out")
from rag_service import pipeline
pipeline.land_documents(Settings.load())
"""


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6, 7])
def test_landing_that_is_killed_and_run_again_loses_and_doubles_nothing(
    engine: sa.Engine, ready: Settings, at: int
) -> None:
    drop(ready, "a.txt", "one")
    drop(ready, "b.txt", "two")

    killed = subprocess.run([sys.executable, "-c", CHILD, str(at)], env={**os.environ}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    pipeline.land_documents(ready)

    assert states(engine) == {"cellar/safety/a.txt": ["landed"], "cellar/safety/b.txt": ["landed"]}
    assert [path for path in ready.inbox_dir.rglob("*") if path.is_file()] == []
    store = ObjectStore(ready.resolved_objects_url)
    assert [store.read(hashlib.sha256(text).hexdigest()) for text in (b"one", b"two")] == [b"one", b"two"]
