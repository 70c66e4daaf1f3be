"""Event triggers. They run in Airflow's triggerer, on its event loop."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from cuvee_airflow.reminding import Reminding


class InboxTrigger(BaseEventTrigger):
    """Fires when files have settled in the inbox: one event per new set of files. The DAG takes them out."""

    def __init__(self, poll_seconds: float = 2.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "cuvee_airflow.triggers.InboxTrigger", {"poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from cuvee.settings import Settings
        from rag_service.sources.folder import list_settled

        settings, reminding = Settings.load(), Reminding()
        while True:
            files = await asyncio.to_thread(list_settled, settings.inbox_dir, settings.settle_seconds)
            state = _fingerprint([(str(f.path), f.size_bytes, f.modified_at) for f in files]) if files else ""
            if reminding.fires(state):
                self.log.info("%d files have settled in %s", len(files), settings.inbox_dir)
                yield TriggerEvent({"files": len(files)})  # type: ignore[no-untyped-call]
            await asyncio.sleep(self.poll_seconds)


class RequestTrigger(BaseEventTrigger):
    """Fires when documents were sent in over HTTP, deleted and still answered from, or are to be tried again.

    What `documents` says. The DAG takes the deleted ones out of the index, and reads the others. While the database
    does not answer, nothing fires.
    """

    def __init__(self, poll_seconds: float = 2.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "cuvee_airflow.triggers.RequestTrigger", {"poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from cuvee.database import connect
        from cuvee.settings import Settings

        engine, reminding = connect(Settings.load().resolved_database_url, pool_size=1), Reminding()
        try:
            while True:
                count, state = await asyncio.to_thread(self._requested, engine)
                if reminding.fires(state):
                    self.log.info("%d documents wait to be taken out or tried again", count)
                    yield TriggerEvent({"documents": count})  # type: ignore[no-untyped-call]
                await asyncio.sleep(self.poll_seconds)
        finally:
            engine.dispose()

    def _requested(self, engine: Any) -> tuple[int, str]:
        import sqlalchemy as sa

        from rag_service.documents import ledger

        try:
            with engine.connect() as connection:
                return ledger.requested(connection)
        except sa.exc.SQLAlchemyError as error:
            self.log.warning("the database does not answer: %s", error)
            return 0, ""


def _fingerprint(files: list[tuple[str, int, float]]) -> str:
    return hashlib.sha256(repr(files).encode(errors="surrogateescape")).hexdigest()
