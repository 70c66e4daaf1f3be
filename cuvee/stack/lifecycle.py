"""Up, down and status of the local stack."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cuvee.errors import PreconditionError, ProcessDiedError
from cuvee.settings import Settings
from cuvee.stack import postgres, preflight, secrets, started_with, supervision
from cuvee.stack.programs import Program, choices, environment, programs

_HEALTH_TIMEOUT_SECONDS = 240
_DYING_SECONDS = 15
_BAD_STATES = ("FATAL", "BACKOFF", "EXITED")


@dataclass(frozen=True)
class ProgramStatus:
    """One process of the stack as seen from outside."""

    name: str
    state: str
    healthy: bool
    pid: int | None
    uptime_seconds: int
    memory_bytes: int
    """Resident memory of the process and its children, shared pages divided among their sharers."""
    url: str


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Two `cuvee up` or `down` at once would undo each other."""
    import fcntl

    settings.run_dir.mkdir(parents=True, exist_ok=True)
    with (settings.run_dir / "lifecycle.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PreconditionError(
                f"Another `cuvee up` or `cuvee down` is at work on {settings.home}; wait for it."
            ) from error
        yield


def up(settings: Settings, console: Console) -> None:
    """Start everything that does not run yet, in order, and wait until all of it is healthy. Safe to repeat.

    Raises:
        PreconditionError: Java, a port, or disk space is missing, or what runs was started with other settings.
        ProcessDiedError: a process does not become healthy; the message has its last log lines.
    """
    with _only_one(settings):
        keys = secrets.ensure(settings)
        everything = programs(settings)
        supervisor = supervision.Supervisor(settings)
        if supervisor.runs():
            _check_started_with(settings, keys)
        else:
            ended = supervision.end_orphans(settings)
            if ended:
                console.print(f"Ended {ended} processes that a killed supervisor had left behind.")
            preflight.check(settings, everything)
            _make_folders(settings)
            _write_airflow_password(settings, keys["AIRFLOW_PASSWORD"])
            postgres.prepare(settings)
            configuration = supervision.write_configuration(settings, everything)
            started_with.record(settings, choices(settings, keys))
            supervisor.launch(configuration, environment(settings, keys, supervision.stack_id(settings)))
        _start_all(settings, console, supervisor, everything, keys)


def _check_started_with(settings: Settings, keys: dict[str, str]) -> None:
    changed = started_with.changed(settings, choices(settings, keys))
    if changed:
        raise PreconditionError(
            f"{', '.join(changed)} changed since this stack was started, and its processes keep what they were started "
            "with. Run `cuvee down` first, then `cuvee up`; nothing is lost."
        )


def _make_folders(settings: Settings) -> None:
    for folder in (settings.inbox_dir, settings.mlruns_dir, settings.data_dir / "airflow", settings.data_dir / "spark"):
        folder.mkdir(parents=True, exist_ok=True)


def _write_airflow_password(settings: Settings, password: str) -> None:
    path = settings.run_dir / "airflow-passwords.json"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as target:  # noqa: PTH123
        json.dump({"admin": password}, target)


class _Board:
    """A live table of what is starting and how long it took."""

    def __init__(self, console: Console, names: list[str]) -> None:
        self._rows = dict.fromkeys(names, ("waiting", ""))
        self._console = console
        self._lock = threading.Lock()

    def set(self, name: str, state: str, seconds: float | None = None) -> None:
        with self._lock:
            if self._rows.get(name, ("", ""))[0] == state:
                return
            self._rows[name] = (state, "" if seconds is None else f"{seconds:.1f} s")
        if not self._console.is_terminal and state != "starting":
            self._console.print(f"  {name}: {state} {self._rows[name][1]}", highlight=False)

    def __rich__(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, (state, seconds) in self._rows.items():
            colour = {"healthy": "green", "done": "green", "starting": "yellow"}.get(state, "dim")
            table.add_row(name, f"[{colour}]{state}[/]", seconds)
        return table


def _start_all(
    settings: Settings,
    console: Console,
    supervisor: supervision.Supervisor,
    everything: list[Program],
    keys: dict[str, str],
) -> None:
    ours, airflows = "our database", "airflow's database"
    board = _Board(console, ["postgres", ours, airflows, *(p.name for p in everything[1:])])
    with Live(board, console=console, refresh_per_second=4) if console.is_terminal else _no_live():
        _start_and_wait(settings, supervisor, [everything[0]], board)
        _timed(board, ours, lambda: postgres.make_databases(settings, keys["CUVEE_API_KEY"]))
        # These can come up while Airflow's schema is made.
        for program in everything[1:]:
            if not program.name.startswith("airflow-"):
                board.set(program.name, "starting")
                supervisor.start(program.name)
        _timed(board, airflows, lambda: _migrate_airflow(settings, keys))
        _start_and_wait(settings, supervisor, everything[1:], board)


@contextmanager
def _no_live() -> Iterator[None]:
    yield


def _timed(board: _Board, name: str, step: Callable[[], None]) -> None:
    started = time.monotonic()
    board.set(name, "starting")
    step()
    board.set(name, "done", time.monotonic() - started)


def _start_and_wait(
    settings: Settings, supervisor: supervision.Supervisor, chosen: list[Program], board: _Board
) -> None:
    """Start each program once all that it needs is healthy; return when all are."""
    started = time.monotonic()
    pending = {program.name: program for program in chosen}
    asked: set[str] = set()
    died: dict[str, float] = {}
    while pending:
        for name, program in pending.items():
            if name not in asked and not pending.keys() & set(program.needs):
                asked.add(name)
                board.set(name, "starting")
                supervisor.start(name)
        states = supervisor.states()
        for name, program in list(pending.items()):
            if name not in asked:
                continue
            if states[name].state == "RUNNING" and program.healthy():
                board.set(name, "healthy", time.monotonic() - started)
                del pending[name]
            elif (
                states[name].state in _BAD_STATES
                # The first death may be bad luck, which a restart mends.
                and time.monotonic() - died.setdefault(name, time.monotonic()) > _DYING_SECONDS
            ):
                _raise_died(settings, name, "keeps dying")
        if time.monotonic() - started > _HEALTH_TIMEOUT_SECONDS:
            _raise_died(settings, next(iter(pending)), f"is not healthy after {_HEALTH_TIMEOUT_SECONDS} s")
        time.sleep(0.3)


def _raise_died(settings: Settings, name: str, what: str) -> None:
    raise ProcessDiedError(
        f"{name} {what}. Its last log lines ({supervision.log_path(settings, name)}):\n"
        f"{supervision.last_lines(settings, name)}\nMend the cause and run `cuvee up` again; nothing is lost."
    )


def _migrate_airflow(settings: Settings, keys: dict[str, str]) -> None:
    """`airflow db migrate`, unless this version of Airflow did it already on this database."""
    from importlib.metadata import version

    stamp = settings.postgres_dir.parent / "airflow" / "migrated"
    if stamp.exists() and stamp.read_text() == version("apache-airflow"):
        return
    done = subprocess.run(  # noqa: S603
        [str(Path(sys.executable).parent / "airflow"), "db", "migrate"],
        env=environment(settings, keys, supervision.stack_id(settings)),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ProcessDiedError(f"`airflow db migrate` failed:\n{(done.stdout + done.stderr)[-3000:]}")
    stamp.write_text(version("apache-airflow"))


def down(settings: Settings, console: Console) -> None:
    """Stop everything, last started first; data stays."""
    with _only_one(settings):
        supervisor = supervision.Supervisor(settings)
        if supervisor.runs():
            names = [program.name for program in programs(settings)]
            with console.status("stopping") if console.is_terminal else _no_live():
                supervisor.stop_all([name for name in names if name != "postgres"])
                supervisor.stop_all(["postgres"])
                supervisor.shut_down()
        supervision.end_orphans(settings)
        shutil.rmtree(settings.data_dir / "spark" / "local", ignore_errors=True)


def status(settings: Settings) -> list[ProgramStatus]:
    """Every process, in starting order."""
    supervisor = supervision.Supervisor(settings)
    states = supervisor.states() if supervisor.runs() else {}
    rows = []
    for program in programs(settings):
        state = states.get(program.name)
        runs = state is not None and state.state == "RUNNING"
        rows.append(
            ProgramStatus(
                name=program.name,
                state=state.state if state else "STOPPED",
                healthy=runs and program.healthy(),
                pid=state.pid if state else None,
                uptime_seconds=state.uptime_seconds if state else 0,
                memory_bytes=_memory_bytes(state.pid) if state and state.pid else 0,
                url=program.url,
            )
        )
    return rows


def _memory_bytes(pid: int) -> int:
    total = 0
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        for process in [leader, *leader.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total
