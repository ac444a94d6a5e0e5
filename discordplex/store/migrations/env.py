"""What Alembic runs for a migration: all steps on the connection it is handed, in the transaction that is already open there."""

from alembic import context

from discordplex.store.tables import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters little: a changed table is made anew and filled from the old one
)
context.run_migrations()
