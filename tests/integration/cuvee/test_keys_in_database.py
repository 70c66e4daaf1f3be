"""API keys against a real PostgreSQL."""

import threading

import pytest
import sqlalchemy as sa

from cuvee import keys
from cuvee.database import api_keys
from cuvee.errors import ForbiddenError, UnauthorizedError
from cuvee.keys import KeyRing

pytestmark = pytest.mark.integration


def revoke(engine: sa.Engine, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(api_keys).where(api_keys.c.name == name).values(revoked_at=sa.func.now()))


def count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(api_keys)).scalar_one()


def test_a_recorded_key_is_known_by_name_and_scopes(engine: sa.Engine) -> None:
    keys.ensure(engine, "first", "cuvee_one")

    caller = KeyRing(engine).authenticate("Bearer cuvee_one", "rag")

    assert (caller.name, caller.scopes) == ("first", {"rag", "ml", "documents"})


def test_recording_a_key_again_changes_nothing(engine: sa.Engine) -> None:
    keys.ensure(engine, "first", "cuvee_one")
    keys.ensure(engine, "second", "cuvee_one", ("ml",))

    assert count(engine) == 1
    assert KeyRing(engine).authenticate("bearer cuvee_one", "rag").name == "first"


def test_a_key_takes_the_place_of_the_former_one_of_its_name_alone_and_can_come_back(engine: sa.Engine) -> None:
    def valid() -> list[str]:
        with engine.connect() as connection:
            found = sa.select(api_keys.c.key_sha256).where(api_keys.c.revoked_at.is_(None))
            hashes = set(connection.execute(found).scalars())
        return [key for key in ("cuvee_old", "cuvee_new", "cuvee_other") if keys._hash(key) in hashes]

    keys.ensure(engine, "other", "cuvee_other")
    keys.ensure(engine, "first", "cuvee_old")

    keys.ensure(engine, "first", "cuvee_new")
    assert valid() == ["cuvee_new", "cuvee_other"]

    keys.ensure(engine, "first", "cuvee_old")
    assert valid() == ["cuvee_old", "cuvee_other"]
    assert count(engine) == 3


def test_the_key_itself_is_nowhere_in_the_database(engine: sa.Engine) -> None:
    keys.ensure(engine, "first", "cuvee_one")

    with engine.connect() as connection:
        row = connection.execute(sa.select(api_keys)).one()

    assert not any("cuvee_one" in str(value) for value in row)


def test_an_unknown_key_is_refused(engine: sa.Engine) -> None:
    keys.ensure(engine, "first", "cuvee_one")

    with pytest.raises(UnauthorizedError, match="unknown or was revoked"):
        KeyRing(engine).authenticate("Bearer cuvee_two", "rag")


def test_a_key_without_the_scope_is_forbidden_by_name(engine: sa.Engine) -> None:
    keys.ensure(engine, "wine-only", "cuvee_one", ("ml",))
    ring = KeyRing(engine)

    assert ring.authenticate("Bearer cuvee_one", "ml").name == "wine-only"
    with pytest.raises(ForbiddenError, match="'wine-only' lacks the scope 'rag'"):
        ring.authenticate("Bearer cuvee_one", "rag")


def test_a_revoked_key_is_refused_once_what_was_remembered_is_old(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("cuvee.keys.time.monotonic", lambda: now[0])
    keys.ensure(engine, "first", "cuvee_one")
    ring = KeyRing(engine, ttl_seconds=30)
    ring.authenticate("Bearer cuvee_one", "rag")
    revoke(engine, "first")

    now[0] += 29.9
    assert ring.authenticate("Bearer cuvee_one", "rag").name == "first"
    now[0] += 0.2
    with pytest.raises(UnauthorizedError):
        ring.authenticate("Bearer cuvee_one", "rag")


def test_what_a_ring_remembers_is_bounded(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyRing, "_most_remembered", 3)
    for number in range(5):
        keys.ensure(engine, f"key-{number}", f"cuvee_{number}")
    ring = KeyRing(engine)

    names = [ring.authenticate(f"Bearer cuvee_{number}", "rag").name for number in range(5)]

    assert names == ["key-0", "key-1", "key-2", "key-3", "key-4"]
    assert len(ring._known) <= 3


def test_threads_that_come_at_once_are_all_answered(engine: sa.Engine) -> None:
    keys.ensure(engine, "first", "cuvee_one")
    ring = KeyRing(engine, ttl_seconds=0)
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda: names.append(ring.authenticate("Bearer cuvee_one", "rag").name))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert names == ["first"] * 8
