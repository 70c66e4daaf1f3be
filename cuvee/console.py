"""What every command prints with, and how it tells of our own errors."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from cuvee.errors import CuveeError, NotReadyError

console = Console()


def told_plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Our own errors, and a stack that is down, end the command with a message and exit status 1, not a traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except Exception as error:
            found = error if isinstance(error, CuveeError) else _unreachable(error)
            if found is None:
                raise
            Console(stderr=True).print(
                f"[bold red]{found.kind}[/]: {escape(str(found))}", highlight=False, soft_wrap=True
            )
            raise typer.Exit(1) from error

    return run


def _unreachable(error: Exception) -> CuveeError | None:
    """What is to be done where the database or MLflow does not answer; None: it is something else."""
    # Imported here, as `cuvee status` must start at once.
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import InterfaceError, OperationalError

    if isinstance(error, OperationalError | InterfaceError):
        reason = str(error.orig).strip().splitlines()[0]
        return NotReadyError(f"The database does not answer ({reason}). Is everything up? `cuvee up` starts it.")
    if isinstance(error, MlflowException):
        return NotReadyError(f"MLflow could not do it ({error.message}). Is everything up? `cuvee up` starts it.")
    return None
