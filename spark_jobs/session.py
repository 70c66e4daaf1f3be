"""The Spark Connect session that every task attaches to."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.connect.client.retries import DefaultPolicy

from cuvee.errors import NotReadyError, ProcessDiedError

_SESSIONS = uuid.UUID("5b0ac1d4-6f5e-4a51-9d1c-d0dec0de1590")
# One is used up by each day without a job, so these last for years of a server that is never restarted.
_MOST_TRIES = 1_000
_MOST_CALLS = 4
"""Within four seconds; the client's own fifteen take ten minutes, for which the task would seem to work."""
_DEATHS = ("Python worker exited unexpectedly", "ExecutorLostFailure")


@contextmanager
def attached(url: str) -> Iterator[SparkSession]:
    """The one session that all tasks share on the Connect server at `url`.

    Every client asks for the same session id and closes its connection without releasing the session, so that the
    session's Python workers, and the models they loaded, stay warm for the next task. The server refuses an id for
    ever once that session ended (idle too long, or released), so the ids form a fixed sequence and the first one
    alive is taken.

    Raises:
        NotReadyError: the server does not answer.
    """
    session = _first_alive(url)
    try:
        yield session
    finally:
        session.client.close()  # left to the interpreter's exit, this hangs


@contextmanager
def deaths_told() -> Iterator[None]:
    """Tell deaths from other failures of a job.

    Raises:
        ProcessDiedError: a job in the body failed because a Python worker, or the executor that it ran in, ended.
    """
    try:
        yield
    except PySparkException as error:
        if any(death in str(error) for death in _DEATHS):
            raise ProcessDiedError(f"A Python worker of Spark died at its work; see Spark's log: {error}") from error
        raise


def _first_alive(url: str) -> SparkSession:
    for attempt in range(_MOST_TRIES):
        session_id = uuid.uuid5(_SESSIONS, str(attempt))
        session = SparkSession.builder.remote(f"{url.rstrip('/')}/;user_id=cuvee;session_id={session_id}").create()
        patient = session.client.get_retry_policies()
        session.client.set_retry_policies([DefaultPolicy(max_retries=_MOST_CALLS)])
        try:
            _ = session.version  # asks the server
        except (PySparkException, OSError, RuntimeError) as error:
            session.client.close()
            if "SESSION_CLOSED" in str(error):
                continue
            raise NotReadyError(f"Spark Connect does not answer at {url}: {error}") from error
        session.client.set_retry_policies(patient)
        return session
    raise NotReadyError(f"Spark Connect at {url} has closed {_MOST_TRIES} sessions of ours; restart it.")
