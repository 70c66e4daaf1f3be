"""A whole stack in a temporary folder on free ports, driven through what a user has: files, HTTP, the command line."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from dotenv import dotenv_values

from cuvee.settings import Settings
from cuvee.stack import lifecycle
from cuvee.stack.airflow_client import AirflowClient
from cuvee.stack.services import ServiceClient

CUVEE = Path(sys.executable).parent / "cuvee"
FOREST = {"estimator": "extra_trees", "n_estimators": 60}
"""Trained in seconds; what `train_wine` makes by default is trained when the world has changed."""
PORTS = ("AIRFLOW", "MLFLOW", "RAG", "ML", "SPARK_CONNECT")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass
class Stack:
    """One running stack and how to reach it."""

    home: Path
    environment: dict[str, str]
    settings: Settings
    api_key: str = ""
    airflow: AirflowClient = field(init=False)
    services: ServiceClient = field(init=False)

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([CUVEE, *words], env=self.environment, capture_output=True, text=True, timeout=400)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def up(self) -> None:
        self.command("up")
        secrets = dotenv_values(self.home / ".env")
        self.api_key = secrets["CUVEE_API_KEY"] or ""
        self.airflow = AirflowClient(
            f"http://127.0.0.1:{self.settings.airflow_port}", secrets["AIRFLOW_PASSWORD"] or ""
        )
        self.services = ServiceClient(self.settings, self.api_key)

    def status(self) -> list[lifecycle.ProgramStatus]:
        """What `cuvee status` shows, without the seconds that starting a program takes: it is asked again and again."""
        return lifecycle.status(self.settings)

    def healthy(self) -> bool:
        return all(program.healthy for program in self.status())

    def pid_of(self, name: str) -> int | None:
        return next(program.pid for program in self.status() if program.name == name)

    def drop(self, topic: str, segment: str, name: str | bytes, content: bytes) -> None:
        folder = self.settings.inbox_dir / topic / segment
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / ".aside.part"
        aside.write_bytes(content)
        os.rename(aside, os.path.join(os.fsencode(folder), os.fsencode(name)))

    def trained(self, run: str, state: str = "success") -> None:
        """Wait until this run of `train_wine` has ended so."""
        wait_until(lambda: self.airflow.run_state("train_wine", run) == state, f"train_wine {state}", 400)

    def documents(self, **filters: Any) -> dict[str, dict[str, Any]]:
        """Documents by topic/segment/uri; fails when one place has two live documents."""
        found: dict[str, dict[str, Any]] = {}
        for document in self.services.documents(**filters):
            if document["state"] in ("superseded", "deleted"):
                continue
            place = f"{document['topic']}/{document['segment']}/{document['uri']}"
            assert place not in found, f"{place} is there twice"
            found[place] = document
        return found


def wait_until(condition: Callable[[], Any], what: str, timeout_seconds: float = 180) -> Any:
    """The first true value of `condition`; a connection that is refused meanwhile counts as false."""
    import httpx

    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            value = condition()
        except httpx.HTTPError:
            value = None
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_seconds:.0f} s: {what}"
        time.sleep(0.5)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Up before the first test that asks for it; down, with nothing left running, after the last."""
    home = Path(tempfile.mkdtemp(prefix="cuvee-e2e-"))
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CUVEE_", "AIRFLOW"))}
    environment |= {f"CUVEE_{name}_PORT": str(port) for name, port in ports.items()} | {"CUVEE_HOME": str(home)}
    settings = Settings(home=home, **{f"{name.lower()}_port": port for name, port in ports.items()})
    running = Stack(home, environment, settings)
    try:
        running.up()
        yield running
        running.command("down")
        assert _left_over(home) == []
    except BaseException:
        _show_logs(home)
        raise
    finally:
        running.command("down", check=False)
        for process in _left_over(home):
            process.send_signal(signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def first_training(stack: Stack) -> str:
    """A run of `train_wine`, which goes on beside the test that asks for it first."""
    stack.airflow.wait_for_dags(["train_wine"])
    return stack.airflow.trigger("train_wine", FOREST)


@pytest.fixture
def champion(stack: Stack, first_training: str) -> int:
    """Version of the wine model that is served."""
    stack.trained(first_training)
    wait_until(lambda: stack.services.serves("ml"), "a champion is served", 60)
    return int(stack.services.model()["version"])


def _left_over(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CUVEE_HOME") == str(home) and process.environ().get("CUVEE_STACK_ID"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _show_logs(home: Path) -> None:
    for log in sorted((home / "data" / "logs").glob("*.log")):
        print(f"--- {log.name}\n" + log.read_text(errors="replace")[-3000:])
