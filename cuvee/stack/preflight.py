"""What must hold on this machine before anything starts; every failure says what to do."""

import shutil

import psutil

from cuvee.errors import PreconditionError
from cuvee.settings import Settings
from cuvee.stack import java
from cuvee.stack.programs import Program

_LEAST_FREE_BYTES = 2_000_000_000


def check(settings: Settings, programs: list[Program]) -> None:
    """Java, disk and ports.

    Raises:
        PreconditionError: naming what is missing and the setting or command that helps.
    """
    java.check(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.data_dir).free
    if free < _LEAST_FREE_BYTES:
        raise PreconditionError(
            f"{settings.data_dir} has {free / 1e9:.1f} GB free; at least {_LEAST_FREE_BYTES / 1e9:.0f} GB are needed. "
            "Free some, or set CUVEE_HOME to a folder on a larger disk."
        )
    _check_ports(programs)


def _check_ports(programs: list[Program]) -> None:
    holders = {
        connection.laddr.port: connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr
    }
    wanted: dict[int, str] = {}
    for program in programs:
        if program.port is None:
            continue
        if program.port in wanted:
            raise PreconditionError(f"{program.port_setting} and {wanted[program.port]} are both {program.port}.")
        wanted[program.port] = program.port_setting
        if program.port in holders:
            raise PreconditionError(
                f"Port {program.port} for {program.name} is in use by {_name(holders[program.port])}. "
                f"Stop that, or set {program.port_setting} to a free port in the environment or .env."
            )


def _name(pid: int | None) -> str:
    if pid is None:
        return "another user's process"
    try:
        return f"process {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"process {pid}"
