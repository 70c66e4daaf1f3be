"""The schema's history. `upgrade` brings a database to the newest revision, one process at a time."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from cuvee.database import single_writer


def config(connection: sa.Connection) -> Config:
    alembic = Config()
    # alembic expands %(name)s
    alembic.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    alembic.attributes["connection"] = connection
    return alembic


def upgrade(engine: sa.Engine) -> None:
    """Apply every missing revision in one transaction; safe to run at every start."""
    with single_writer(engine, "migrations"), engine.begin() as connection:
        command.upgrade(config(connection), "head")
