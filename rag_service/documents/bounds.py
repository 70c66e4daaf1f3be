"""Bounds on the time and memory that reading one document may take, for the process that reads it.

A file of a few kilobytes can ask for gigabytes or loop for ever; it must fail alone.
"""

import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

_DATA_KIB = re.compile(r"^VmData:\s+(\d+) kB$", re.M)


class OutOfTimeError(BaseException):
    """Not an Exception: libraries that catch those would go on."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError in the body after `seconds`, and again each second should it be swallowed.

    Works in the main thread only, which is where Spark's Python workers run.
    """

    def out_of_time(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTimeError

    before: Callable[[int, FrameType | None], Any] | int | None = signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def memory_limit(more_bytes: int) -> Iterator[None]:
    """Raise MemoryError in the body where it would hold more than `more_bytes` beyond what the process holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    found = _DATA_KIB.search(Path("/proc/self/status").read_text())
    assert found, "Linux names the size of a process's data"
    limit = int(found.group(1)) * 1024 + more_bytes
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
