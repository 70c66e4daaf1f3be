"""API keys: how they look, and what an Authorization header must be before any database is asked."""

import pytest
import sqlalchemy as sa

from cuvee import keys
from cuvee.errors import UnauthorizedError


class NoDatabase:
    """Fails the test when it is asked."""

    def connect(self) -> None:
        raise AssertionError("the database was asked")


def test_keys_are_long_random_and_recognisable() -> None:
    made = {keys.generate() for _ in range(100)}

    assert len(made) == 100
    assert all(key.startswith("cuvee_") and len(key) == 6 + 43 for key in made)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic cuvee_x", "cuvee_x"])
def test_a_header_without_a_bearer_key_is_refused_without_asking_the_database(header: str | None) -> None:
    engine: sa.Engine = NoDatabase()  # type: ignore[assignment]

    with pytest.raises(UnauthorizedError, match="Authorization: Bearer <key>"):
        keys.KeyRing(engine).authenticate(header, "rag")
