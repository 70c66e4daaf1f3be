"""Supervisor at work: its configuration, its control socket, and the processes it leaves behind when it is killed."""

import configparser
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from cuvee.errors import ProcessDiedError
from cuvee.settings import Settings
from cuvee.stack.programs import Program

_STARTED = 60  # supervisor.xmlrpc.Faults.ALREADY_STARTED
_LOG_LINES = 25


@dataclass(frozen=True)
class ProcessState:
    """What supervisor knows of one process."""

    state: str
    pid: int | None
    uptime_seconds: int


def stack_id(settings: Settings) -> str:
    """Marks the environment of every process of this home's stack."""
    return hashlib.sha256(os.fsencode(settings.home)).hexdigest()[:16]


def log_path(settings: Settings, name: str) -> Path:
    return settings.logs_dir / f"{name}.log"


def last_lines(settings: Settings, name: str, lines: int = _LOG_LINES) -> str:
    path = log_path(settings, name)
    if not path.exists():
        return "(no log)"
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 32_768))
        return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


def _socket(settings: Settings) -> Path:
    # Not in socket_dir: under root that folder belongs to PostgreSQL's user.
    return settings.socket_dir.with_name(settings.socket_dir.name + "-supervisor.sock")


def _launched(program: Program) -> list[str]:
    # PostgreSQL ends its own children when the postmaster dies, and must be let finish that.
    if program.name == "postgres":
        return program.command
    return [sys.executable, "-m", "cuvee.stack.launch", program.name, *program.command]


def write_configuration(settings: Settings, programs: list[Program]) -> Path:
    """supervisord.conf with one section a program; nothing secret stands in it."""
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    written = configparser.RawConfigParser()
    address = str(_socket(settings))
    written["unix_http_server"] = {"file": address, "chmod": "0700"}
    written["supervisorctl"] = {"serverurl": f"unix://{address}"}
    written["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    written["supervisord"] = {
        "logfile": str(log_path(settings, "supervisord")),
        "pidfile": str(settings.run_dir / "supervisord.pid"),
        "childlogdir": str(settings.logs_dir),
        "directory": str(settings.home),
        "identifier": stack_id(settings),
    }
    if os.geteuid() == 0:
        written["supervisord"]["user"] = "root"
    for program in programs:
        section = {
            "command": shlex.join(_launched(program)),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "2",
            "startretries": "20",
            "stopsignal": program.stop_signal,
            "stopwaitsecs": str(program.stop_seconds),
            "stopasgroup": str(program.stop_group).lower(),
            "killasgroup": "true",
            "redirect_stderr": "true",
            # supervisor expands this one twice
            "stdout_logfile": str(log_path(settings, program.name)).replace("%", "%%"),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "2",
        }
        if program.user:
            section["user"] = program.user
        if program.environment:
            section["environment"] = ",".join(f'{name}="{value}"' for name, value in program.environment.items())
        written[f"program:{program.name}"] = section
    for name in written.sections():
        # supervisor expands %(name)s in every value
        written[name] = {option: value.replace("%", "%%") for option, value in written[name].items()}
    path = settings.run_dir / "supervisord.conf"
    with path.open("w") as target:
        written.write(target)
    return path


class Supervisor:
    """The running supervisord of one home, over its unix socket."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def _rpc(self) -> Any:
        # A new one each time: a transport that failed once stays broken.
        transport = SupervisorTransport(None, None, serverurl=f"unix://{_socket(self._settings)}")
        return ServerProxy("http://127.0.0.1", transport=cast(Any, transport)).supervisor

    def runs(self) -> bool:
        try:
            return bool(self._rpc.getState()["statecode"] == 1)
        except (OSError, HTTPException, Fault):
            return False

    def launch(self, configuration: Path, environment: dict[str, str]) -> None:
        """Start supervisord in a session of its own and wait until it answers.

        Raises:
            ProcessDiedError: it did not come up; the message has its last log lines.
        """
        command = [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(configuration)]
        with (self._settings.run_dir / "supervisord.out").open("wb") as output:
            process = subprocess.Popen(  # noqa: S603
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + 20
        while not self.runs():
            if process.poll() is not None or time.monotonic() > deadline:
                lines = (self._settings.run_dir / "supervisord.out").read_text(errors="replace")[-2000:]
                raise ProcessDiedError(f"supervisord did not come up:\n{lines}")
            time.sleep(0.1)

    def start(self, name: str) -> None:
        try:
            self._rpc.startProcess(name, False)
        except Fault as fault:
            if fault.faultCode != _STARTED:
                raise ProcessDiedError(f"{name} could not be started: {fault.faultString}") from fault

    def states(self) -> dict[str, ProcessState]:
        found = cast(list[dict[str, Any]], self._rpc.getAllProcessInfo())
        return {
            info["name"]: ProcessState(
                info["statename"], info["pid"] or None, info["now"] - info["start"] if info["pid"] else 0
            )
            for info in found
        }

    def stop_all(self, names: list[str]) -> None:
        """Ask all of them to stop, then wait until each has."""
        for name in names:
            with suppress(Fault):  # it was not running
                self._rpc.stopProcess(name, False)
        while any(state.pid for name, state in self.states().items() if name in names):
            time.sleep(0.1)

    def shut_down(self) -> None:
        """End supervisord itself and wait until it is gone."""
        pid_file = self._settings.run_dir / "supervisord.pid"
        pid = int(pid_file.read_text())
        with suppress(OSError, HTTPException):
            self._rpc.shutdown()
        with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            psutil.Process(pid).wait(timeout=30)


def members(settings: Settings) -> list[psutil.Process]:
    """Every process whose environment carries this stack's mark, but for ourselves."""
    mark, found = stack_id(settings), []
    ourselves = {os.getpid(), os.getppid()}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid not in ourselves and process.environ().get("CUVEE_STACK_ID") == mark:
                found.append(process)
    return found


def end_orphans(settings: Settings) -> int:
    """End what is left of a stack whose supervisord is gone; the number of processes ended.

    PostgreSQL's postmaster gets SIGINT, its fast shutdown; it stops its own children.
    """
    orphans = members(settings)
    if not orphans:
        return 0
    postgres = [p for p in orphans if _is_postgres(p)]
    others = [p for p in orphans if p not in postgres]
    for process in others:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(others, timeout=15)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    leaders = [p for p in postgres if not _is_postgres(_parent(p))]
    for process in leaders:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
    psutil.wait_procs([*alive, *postgres], timeout=30)
    return len(orphans)


def _parent(process: psutil.Process) -> psutil.Process | None:
    with suppress(psutil.Error):
        return process.parent()
    return None


def _is_postgres(process: psutil.Process | None) -> bool:
    with suppress(psutil.Error):
        return process is not None and process.name() == "postgres"
    return False
