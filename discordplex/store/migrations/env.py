"""Alembic runs this for a migration: all steps on the given connection, in its open transaction."""

from alembic import context

from discordplex.store.tables import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite has few ALTER statements: a changed table is made again and filled from the old one
)
context.run_migrations()
