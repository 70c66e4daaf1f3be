"""When a condition that stays true is worth another event."""

import time

_FIRST_SECONDS = 60.0
_MOST_SECONDS = 3600.0


class Reminding:
    """One event for each new state; if that state still stands a minute later, again, and then ever more rarely.

    The DAG that an event starts ends the state. If it does not (that run failed), the trigger must say so again, but
    not for ever (apache/airflow#49900).
    """

    def __init__(self) -> None:
        self._seen = ""
        self._fired_at = 0.0
        self._wait_seconds = _FIRST_SECONDS

    def fires(self, state: str) -> bool:
        """Whether an event is due; an empty `state` means that there is nothing to tell."""
        if not state:
            self._seen = ""
            return False
        same = state == self._seen
        if same and time.monotonic() - self._fired_at < self._wait_seconds:
            return False
        self._wait_seconds = min(self._wait_seconds * 2, _MOST_SECONDS) if same else _FIRST_SECONDS
        self._seen, self._fired_at = state, time.monotonic()
        return True
