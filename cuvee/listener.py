"""Waiting for notifications: a thread that looks again whenever another process says that something changed."""

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import psycopg2.extensions
import sqlalchemy as sa

log = logging.getLogger(__name__)


class Listener(threading.Thread):
    """Calls `on_change` after each notification, after each (re)connection, and every `check_seconds`.

    A notification only says "look": the callback reads the state itself, so one that was missed while
    the connection was down costs nothing.
    """

    def __init__(self, url: str, channel: str, on_change: Callable[[], None], check_seconds: float = 30.0) -> None:
        super().__init__(name=f"listen-{channel}", daemon=True)
        address = sa.make_url(url).set(drivername="postgresql+psycopg2")
        # As the engine connects: libpq does not read every URL that SQLAlchemy writes, such as a blank written as +.
        self._arguments, self._options = address.get_dialect()().create_connect_args(address)
        self._channel = channel
        self._on_change = on_change
        self._check_seconds = check_seconds
        self._stopping = threading.Event()
        # Written to when it is time to end; select would take no file beyond the 1024th.
        self._end, self._ends = socket.socketpair()

    def stop(self) -> None:
        self._stopping.set()
        self._ends.send(b"\0")
        self.join(timeout=5)
        if not self.is_alive():
            self._end.close()
            self._ends.close()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except psycopg2.Error as error:
                log.warning(
                    "listener %s lost its connection, trying again in 1 s: %s", self._channel, str(error).strip()
                )
                self._stopping.wait(1.0)

    def _listen(self) -> None:
        connection = psycopg2.connect(*self._arguments, **self._options)
        try:
            connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
            with connection.cursor() as cursor:
                cursor.execute(f'LISTEN "{self._channel}"')
            with selectors.DefaultSelector() as selector:
                selector.register(connection, selectors.EVENT_READ)
                selector.register(self._end, selectors.EVENT_READ)
                self._look_when_told(connection, selector)
        finally:
            connection.close()

    def _look_when_told(self, connection: Any, selector: selectors.BaseSelector) -> None:
        self._changed()
        look_at = time.monotonic() + self._check_seconds
        while not self._stopping.is_set():
            selector.select(max(0.0, look_at - time.monotonic()))
            connection.poll()
            told = bool(connection.notifies)
            connection.notifies.clear()
            if told or time.monotonic() >= look_at:
                self._changed()
                look_at = time.monotonic() + self._check_seconds

    def _changed(self) -> None:
        # The listener must outlive any one failed reload: what is served goes on, and the next check tries again.
        try:
            self._on_change()
        except Exception:
            log.exception("reload after a notification on %s failed; what was served before goes on", self._channel)
