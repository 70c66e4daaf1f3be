"""The schema's history. `upgrade` brings a database to the newest revision, one process at a time."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from cuvee.database import single_writer
from cuvee.errors import ConfigurationError


def config(connection: sa.Connection) -> Config:
    alembic = Config()
    # alembic expands %(name)s
    alembic.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    alembic.attributes["connection"] = connection
    return alembic


def upgrade(engine: sa.Engine) -> None:
    """Apply every missing revision in one transaction; safe to run at every start.

    Raises:
        ConfigurationError: a newer release has upgraded this database.
    """
    with single_writer(engine, "migrations"), engine.begin() as connection:
        known = {script.revision for script in ScriptDirectory.from_config(config(connection)).walk_revisions()}
        unknown = set(MigrationContext.configure(connection).get_current_heads()) - known
        if unknown:
            raise ConfigurationError(
                f"The database was upgraded by a newer release (its schema is {', '.join(unknown)}). Install that "
                "release, or set CUVEE_DATABASE_URL or CUVEE_HOME to another database."
            )
        command.upgrade(config(connection), "head")
