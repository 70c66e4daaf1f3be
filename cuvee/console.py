"""What every command prints with, and how it tells of our own errors."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from rich.console import Console

from cuvee.errors import CuveeError

console = Console()


def told_plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Our own errors end the command with their message and exit status 1, not with a traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except CuveeError as error:
            Console(stderr=True).print(f"[bold red]{error.kind}[/]: {error}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error

    return run
