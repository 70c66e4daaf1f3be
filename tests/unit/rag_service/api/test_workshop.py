"""CPU-bound work runs in few threads, and what waits for them holds none."""

import threading
import time

import anyio
import pytest

from rag_service.api.deps import Workshop


def test_no_more_pieces_of_work_run_at_once_than_allowed_and_all_get_done() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return number * 2

    async def main() -> list[int]:
        workshop, results = Workshop(3), [0] * 12

        async def one(number: int) -> None:
            results[number] = await workshop.run(work, number)

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(one, number)
        return results

    assert anyio.run(main) == [number * 2 for number in range(12)]
    assert most == 3


def test_the_event_loop_goes_on_while_work_runs() -> None:
    release = threading.Event()

    async def main() -> bool:
        workshop, finished = Workshop(1), []

        async def blocked() -> None:
            finished.append(await workshop.run(release.wait, 10))

        async with anyio.create_task_group() as group:
            group.start_soon(blocked)
            group.start_soon(blocked)
            await anyio.sleep(0.05)
            waiting = finished == []
            release.set()
        return waiting and finished == [True, True]

    assert anyio.run(main)


def test_an_error_in_the_work_reaches_the_caller() -> None:
    def broken() -> None:
        raise ValueError("broken work")

    async def main() -> None:
        await Workshop(1).run(broken)

    with pytest.raises(ValueError, match="broken work"):
        anyio.run(main)
