"""Event triggers. They run in Airflow's triggerer, on its event loop."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

_REMIND_FIRST_SECONDS = 60.0
_REMIND_MOST_SECONDS = 3600.0


class InboxTrigger(BaseEventTrigger):
    """Fires when files have settled in the inbox.

    One event per new set of files. The DAG that it starts takes them out; if they are still there a minute later
    (that run failed), it fires again, and then ever more rarely: a trigger whose condition stays true must not fire
    for ever (apache/airflow#49900).
    """

    def __init__(self, poll_seconds: float = 2.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "cuvee_airflow.triggers.InboxTrigger", {"poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from cuvee.settings import Settings
        from rag_service.sources.folder import list_settled

        settings = Settings.load()
        seen, fired_at, remind_seconds = "", 0.0, _REMIND_FIRST_SECONDS
        while True:
            files = await asyncio.to_thread(list_settled, settings.inbox_dir, settings.settle_seconds)
            now_seen = _fingerprint([(str(f.path), f.size_bytes, f.modified_at) for f in files])
            due = time.monotonic() - fired_at >= remind_seconds
            if files and (now_seen != seen or due):
                remind_seconds = (
                    min(remind_seconds * 2, _REMIND_MOST_SECONDS) if now_seen == seen else _REMIND_FIRST_SECONDS
                )
                seen, fired_at = now_seen, time.monotonic()
                self.log.info("%d files have settled in %s", len(files), settings.inbox_dir)
                yield TriggerEvent({"files": len(files)})  # type: ignore[no-untyped-call]
            elif not files:
                seen = ""
            await asyncio.sleep(self.poll_seconds)


def _fingerprint(files: list[tuple[str, int, float]]) -> str:
    return hashlib.sha256(repr(files).encode(errors="surrogateescape")).hexdigest()
