"""API keys: random tokens of which only a SHA-256 is kept, each with scopes.

A plain hash is enough here: the tokens carry 256 bits of randomness, so there is nothing to guess that a slow
password hash would protect (NIST SP 800-63B, look-up secrets with at least 112 bits).
"""

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from cuvee.database import api_keys
from cuvee.errors import ForbiddenError, UnauthorizedError

Scope = Literal["rag", "ml", "documents"]
"""`rag` asks and reads, `documents` adds and deletes documents, `ml` predicts."""
ALL_SCOPES: tuple[Scope, ...] = ("rag", "ml", "documents")


@dataclass(frozen=True)
class Caller:
    """Who a request comes from."""

    key_id: int
    name: str
    scopes: frozenset[str]


def generate() -> str:
    return f"cuvee_{secrets.token_urlsafe(32)}"


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def ensure(engine: sa.Engine, name: str, key: str, scopes: tuple[Scope, ...] = ALL_SCOPES) -> None:
    """Make `key` the one valid key of this name: any former one is revoked. Safe to run at every start."""
    recorded = insert(api_keys).values(name=name, key_sha256=_hash(key), scopes=list(scopes))
    ours, named = api_keys.c.key_sha256 == _hash(key), api_keys.c.name == name
    revoked = api_keys.c.revoked_at.is_not(None)
    with engine.begin() as connection:
        connection.execute(recorded.on_conflict_do_nothing(index_elements=[api_keys.c.key_sha256]))
        connection.execute(sa.update(api_keys).where(named, ours, revoked).values(revoked_at=None))
        connection.execute(sa.update(api_keys).where(named, ~ours, ~revoked).values(revoked_at=sa.func.now()))


def _key_sha256(authorization: str | None) -> str:
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise UnauthorizedError("Send your API key in the header 'Authorization: Bearer <key>'.")
    return _hash(key.strip())


def _allowed(caller: Caller, scope: Scope) -> Caller:
    if scope not in caller.scopes:
        raise ForbiddenError(f"The API key '{caller.name}' lacks the scope '{scope}'.")
    return caller


class KeyRing:
    """Looks keys up in the database and remembers each answer for `ttl_seconds`."""

    _most_remembered = 10_000

    def __init__(self, engine: sa.Engine, ttl_seconds: float = 30.0) -> None:
        self._engine = engine
        self._ttl_seconds = ttl_seconds
        self._known: dict[str, tuple[float, Caller]] = {}
        self._lock = threading.Lock()

    def authenticate(self, authorization: str | None, scope: Scope) -> Caller:
        """The caller behind an `Authorization` header.

        Raises:
            UnauthorizedError: no bearer key, or an unknown or revoked one.
            ForbiddenError: the key lacks `scope`.
        """
        caller = self.remembered(authorization, scope)
        return caller or _allowed(self._look_up(_key_sha256(authorization)), scope)

    def remembered(self, authorization: str | None, scope: Scope) -> Caller | None:
        """As `authenticate`, but None where the database would have to be asked: for an event loop."""
        known = self._known.get(_key_sha256(authorization))
        if known is None or time.monotonic() - known[0] >= self._ttl_seconds:
            return None
        return _allowed(known[1], scope)

    def _look_up(self, key_sha256: str) -> Caller:
        now = time.monotonic()
        statement = sa.select(api_keys).where(api_keys.c.key_sha256 == key_sha256, api_keys.c.revoked_at.is_(None))
        with self._engine.connect() as connection:
            row = connection.execute(statement).one_or_none()
        with self._lock:
            self._known.pop(key_sha256, None)
            if row is None:
                raise UnauthorizedError("This API key is unknown or was revoked.")
            if len(self._known) >= self._most_remembered:
                self._known.clear()
            caller = Caller(row.key_id, row.name, frozenset(row.scopes))
            self._known[key_sha256] = (now, caller)
        return caller
