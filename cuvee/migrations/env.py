"""Alembic's entry point; always run by `cuvee.migrations.upgrade`, which passes the connection."""

from alembic import context

from cuvee.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
