"""Checks whether the schema is current. Alembic costs 8 MiB and is imported only if an older schema must be migrated."""

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.errors import StoreError
from discordplex.store.database import Database
from discordplex.store.tables import METADATA, REVISIONS, VERSION_TABLE

MIGRATION_PATIENCE_S = 120.0
"""A migration may rewrite years of transcripts."""

MIGRATION_LOCK = 0x64_70_6D_67
"""The key of PostgreSQL's advisory lock under which the schema is made or migrated."""


class NewerSchemaError(StoreError):
    """A newer version of this program has migrated the database."""


async def bring_up_to_date(database: Database, shown: str, *, newer: bool = False) -> None:
    """Migrate the database. Raises StoreError, which calls it `shown`, and changes nothing if it is not a database of an older version.

    With `newer`, one that a newer version has migrated is used as it is: migrations only add.
    """

    async def work(connection: AsyncConnection) -> None:
        if connection.dialect.name == "postgresql":  # several processes may start at once
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        version = await connection.run_sync(version_to_write, newer)
        if version is None:
            await connection.run_sync(make)
        elif version in REVISIONS[:-1]:
            from discordplex.store.upgrade import upgrade  # noqa: PLC0415 - Alembic, where it is needed

            await connection.run_sync(upgrade)

    try:
        await database.open("The settings cannot be used", work, MIGRATION_PATIENCE_S)
    except StoreError as fault:
        fault.full = f"{fault} The database is {shown}."
        raise


async def is_current(database: Database, *, newer: bool = False) -> bool:
    """Whether the schema is current, or `newer` is allowed and it is, so that a read-only database can at least be read."""

    async def work(connection: AsyncConnection) -> bool:
        return await connection.run_sync(version_of, newer) not in (None, *REVISIONS[:-1])

    try:
        return await database.read("The settings were not read", work, even_unready=True)
    except StoreError:
        return False


async def one_row(connection: AsyncConnection) -> None:
    """Read one row, which every database of ours has."""
    (await connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))).one()  # noqa: S608 - a constant of ours


async def make_in_memory(database: Database) -> None:
    """Make the current schema in an empty database in memory."""

    async def work(connection: AsyncConnection) -> None:
        await connection.run_sync(METADATA.create_all)

    await database.write("Not even memory takes settings", work)


def make(connection: Connection) -> None:
    """Make the current schema in an empty database: the same as all migrations together."""
    METADATA.create_all(connection)
    key = f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num)"
    connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, {key})"))
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:version)"), {"version": REVISIONS[-1]})  # noqa: S608 - our constant


def version_of(connection: Connection, newer: bool = False) -> str | None:  # noqa: FBT001, FBT002 - `run_sync` passes it on
    """The version of its schema; None if it is empty.

    Raises StoreError if the database is not ours, and NewerSchemaError if it is newer, unless `newer` allows that.
    """
    tables = set(inspect(connection).get_table_names())
    version = None
    if VERSION_TABLE in tables:
        version = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant of ours
    if version is None:
        strange = tables & METADATA.tables.keys()
        if strange:
            raise StoreError(f"The database belongs to another program (it has a table {min(strange)!r}): choose another store.url.")
        return None
    if version not in REVISIONS and not newer:
        raise NewerSchemaError(
            f"The settings were written by a newer discordplex (schema {version}, this one knows {REVISIONS[-1]}): "
            "nothing was changed. Install that version, or choose another store.url."
        )
    return str(version)


def version_to_write(connection: Connection, newer: bool = False) -> str | None:  # noqa: FBT001, FBT002 - `run_sync` passes it on
    """The same, and raises if the database cannot be written."""
    version = version_of(connection, newer)
    if version is not None:
        # Writing the same value again shows now, and not at the first change, whether the database can be written.
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = version_num"))  # noqa: S608 - a constant of ours
    return version
