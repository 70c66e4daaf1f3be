"""How long a newcomer waits, how fast a file becomes answerable, and how much memory the whole stack takes.

Clones this repository into a temporary folder and runs `make demo` there on free ports, twice, with files dropped in
between. Bars are the project's own limits on two cores with warm package caches.
Run: .venv/bin/python benchmarks/demo.py
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from dotenv import dotenv_values

PROJECT = Path(__file__).resolve().parents[1]
BARS = {
    "first_demo_seconds": 360,
    "second_demo_seconds": 120,
    "one_file_answerable_seconds": 60,
    "ten_files_answerable_seconds": 90,
    "resident_bytes": 6_000_000_000,
}


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def timed(clone: Path, environment: dict[str, str], *words: str) -> float:
    started = time.monotonic()
    done = subprocess.run(["make", *words], cwd=clone, env=environment, stdout=sys.stderr, stderr=sys.stderr)
    if done.returncode != 0:
        raise SystemExit(f"make {' '.join(words)} failed")
    return time.monotonic() - started


def wait(condition: Callable[[], bool], timeout_seconds: float = 300) -> float:
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_seconds:
            raise SystemExit(f"not within {timeout_seconds:.0f} s")
        time.sleep(0.25)
    return time.monotonic() - started


def drop(clone: Path, names: list[str]) -> None:
    folder = clone / "data" / "inbox" / "benchmark" / "files"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        text = f"The keeper of the {name} barrel is called {name.title()}son. " * 3
        filler = "The barrel stands in the north cellar and is looked after every day of the week. " * 60
        (folder / f".{name}.part").write_text(f"{text}{filler}")
        (folder / f".{name}.part").rename(folder / f"{name}.txt")


def knows(rag: httpx.Client, name: str) -> bool:
    answer = rag.post("/ask", json={"question": f"Who is the keeper of the {name} barrel?", "topic": "benchmark"})
    return answer.status_code == 200 and f"{name.title()}son" in answer.json()["answer"]


def measure(clone: Path, environment: dict[str, str]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    say("first make demo, with set-up")
    figures["first_demo_seconds"] = timed(clone, environment, "demo")
    key = dotenv_values(clone / ".env")["CUVEE_API_KEY"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{environment['CUVEE_RAG_PORT']}", headers=headers, timeout=60) as rag:
        say("one file")
        drop(clone, ["oriole"])
        figures["one_file_answerable_seconds"] = wait(lambda: knows(rag, "oriole"))
        say("ten files")
        names = ["heron", "stork", "finch", "crane", "raven", "swift", "eagle", "robin", "snipe", "grebe"]
        drop(clone, names)
        figures["ten_files_answerable_seconds"] = wait(lambda: all(knows(rag, name) for name in names))
    status = subprocess.run(
        [clone / ".venv" / "bin" / "cuvee", "status", "--json"], env=environment, capture_output=True, text=True
    )
    seen = json.loads(status.stdout)
    figures["resident_bytes"] = seen["memory_bytes"]
    figures["resident_bytes_by_process"] = {p["name"]: p["memory_bytes"] for p in seen["processes"]}
    say("make down, second make demo")
    timed(clone, environment, "down")
    figures["second_demo_seconds"] = timed(clone, environment, "demo")
    return figures


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="cuvee-benchmark-"))
    clone = folder / "cuvee"
    ports = {f"CUVEE_{name}_PORT": str(free_port()) for name in ("AIRFLOW", "MLFLOW", "RAG", "ML", "SPARK_CONNECT")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CUVEE_", "AIRFLOW"))}
    environment = inherited | ports
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
    try:
        figures = measure(clone, environment)
    finally:
        subprocess.run(["make", "down"], cwd=clone, env=environment, stdout=sys.stderr, stderr=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
    bars = {name: {"value": figures[name], "bar": bar, "holds": figures[name] <= bar} for name, bar in BARS.items()}
    print(json.dumps({"bars": bars, "resident_bytes_by_process": figures["resident_bytes_by_process"]}))


if __name__ == "__main__":
    main()
