"""Is the schema today's? Alembic, which costs 8 MiB, is imported only where an older one has to be migrated."""

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.errors import StoreError
from discordplex.store.database import Database
from discordplex.store.tables import METADATA, REVISIONS, VERSION_TABLE

MIGRATION_PATIENCE_S = 120.0
"""A migration may rewrite years of transcripts."""


async def bring_up_to_date(database: Database, shown: str) -> None:
    """Migrate the database, called `shown` to the operator; raises StoreError and changes nothing where it is not an older one of ours."""

    async def work(connection: AsyncConnection) -> None:
        version = await connection.run_sync(version_to_write)
        if version is None:
            await connection.run_sync(make)
        elif version != REVISIONS[-1]:
            from discordplex.store.upgrade import upgrade  # noqa: PLC0415 - Alembic, where it is needed

            await connection.run_sync(upgrade)

    try:
        await database.open("The settings cannot be used", work, MIGRATION_PATIENCE_S)
    except StoreError as fault:
        fault.full = f"{fault} The database is {shown}."
        raise


async def is_current(database: Database) -> bool:
    """Whether a database that cannot be written can at least be read as it is."""

    async def work(connection: AsyncConnection) -> bool:
        return await connection.run_sync(version_of) == REVISIONS[-1]

    try:
        return await database.read("The settings were not read", work, even_unready=True)
    except StoreError:
        return False


async def make_in_memory(database: Database) -> None:
    """Today's schema where there was none: nothing to migrate."""

    async def work(connection: AsyncConnection) -> None:
        await connection.run_sync(METADATA.create_all)

    await database.write("Not even memory takes settings", work)


def make(connection: Connection) -> None:
    """Today's schema where there is none: what all the migrations together would make."""
    METADATA.create_all(connection)
    key = f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num)"
    connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, {key})"))
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:version)"), {"version": REVISIONS[-1]})  # noqa: S608 - our constant


def version_of(connection: Connection) -> str | None:
    """Which schema it has, None for none yet; raises StoreError where it is not for us to touch."""
    tables = set(inspect(connection).get_table_names())
    version = None
    if VERSION_TABLE in tables:
        version = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant of ours
    if version is None:
        strange = tables & METADATA.tables.keys()
        if strange:
            raise StoreError(f"The database belongs to another program (it has a table {min(strange)!r}): choose another store.url.")
        return None
    if version not in REVISIONS:
        raise StoreError(
            f"The settings were written by a newer discordplex (schema {version}, this one knows {REVISIONS[-1]}): "
            "nothing was changed. Install that version, or choose another store.url."
        )
    return str(version)


def version_to_write(connection: Connection) -> str | None:
    """The same of a database that can be written; raises what tells that it cannot."""
    version = version_of(connection)
    if version is not None:
        # Writing what is there already tells now, and not at somebody's first change, whether the database may be written.
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = version_num"))  # noqa: S608 - a constant of ours
    return version
