"""Between supervisor and each process: `python -m cuvee.stack.launch NAME COMMAND...`.

A process that is killed with `kill -9` leaves its children behind, and one of them may hold the port that the restarted
one needs (MLflow's web server), or wait for ever on a queue that nobody fills (the workers of Airflow's LocalExecutor).
So whatever the last incarnation left is ended first; then this process becomes the command.
"""

import os
import sys
from contextlib import suppress

import psutil

_MARK = "CUVEE_PROGRAM"
_TERM_SECONDS = 3


def end_left_over(name: str, stack_id: str) -> list[int]:
    """End every process of the program `name` of this stack, ourselves left out; their pids."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            marks = process.environ()
            if process.pid != os.getpid() and (marks.get(_MARK), marks.get("CUVEE_STACK_ID")) == (name, stack_id):
                found.append(process)
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(found, timeout=_TERM_SECONDS)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return [process.pid for process in found]


def main() -> None:
    name, *command = sys.argv[1:]
    ended = end_left_over(name, os.environ["CUVEE_STACK_ID"])
    if ended:
        sys.stderr.write(f"ended what the last {name} had left behind: {ended}\n")
    os.environ[_MARK] = name
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
