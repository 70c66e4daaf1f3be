"""Proof that what was promoted is what a service answers with."""

import logging
import time
from typing import Any

import httpx

from cuvee.errors import NotReadyError

log = logging.getLogger(__name__)


def wait_until_serves(url: str, field: str, expected: Any, timeout_seconds: float = 60.0) -> float:
    """Poll `GET <url>/health/ready` until its `field` is `expected`; seconds it took.

    Raises:
        NotReadyError: it still serves something else when time runs out; the message says what.
    """
    started = time.monotonic()
    with httpx.Client(base_url=url, timeout=5) as http:
        while True:
            seen = _served(http, field)
            waited = time.monotonic() - started
            if seen == expected:
                log.info("%s serves %s %s (after %.1f s)", url, field, expected, waited)
                return waited
            if waited > timeout_seconds:
                raise NotReadyError(
                    f"{url} serves {field} {seen!r} instead of {expected!r} after {timeout_seconds:.0f} s; "
                    "look at its log for why it refused the new one, or restart it."
                )
            time.sleep(0.5)


def _served(http: httpx.Client, field: str) -> Any:
    try:
        answer = http.get("/health/ready")
        return answer.json().get(field) if answer.status_code == 200 else f"nothing (status {answer.status_code})"
    except httpx.HTTPError as error:
        return f"nothing ({error})"
