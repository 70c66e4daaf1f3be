"""The bounds on reading: they end what runs away, also where it catches exceptions, and leave nothing behind."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

from rag_service.documents.bounds import OutOfTimeError, time_limit


def test_a_reader_that_loops_and_swallows_exceptions_is_ended() -> None:
    started = time.monotonic()

    with pytest.raises(OutOfTimeError), time_limit(0.05):
        while True:
            try:
                time.sleep(0.01)
            except Exception:  # noqa: BLE001
                continue

    assert time.monotonic() - started < 2


def test_a_body_that_is_quick_enough_is_not_disturbed_later() -> None:
    before = signal.getsignal(signal.SIGALRM)

    with time_limit(0.05):
        pass
    time.sleep(0.1)

    assert signal.getsignal(signal.SIGALRM) == before


def test_a_reader_that_asks_for_too_much_memory_gets_none() -> None:
    # In a process of its own: one that ran other tests may hold hundreds of free megabytes, which it may use.
    script = textwrap.dedent("""
        import resource
        from rag_service.documents.bounds import memory_limit

        before = resource.getrlimit(resource.RLIMIT_DATA)
        try:
            with memory_limit(100_000_000):
                bytearray(300_000_000)
        except MemoryError:
            print("refused")
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
        print(len(bytearray(300_000_000)))
    """)

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert (run.stdout, run.returncode) == ("refused\n300000000\n", 0), run.stderr
