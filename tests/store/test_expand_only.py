"""What lets processes of two versions share one database: a migration only adds, so that who has not been replaced yet goes on."""

from pathlib import Path
from typing import TypeAlias

import pytest
from sqlalchemy import Connection, create_engine, inspect

from discordplex.store.schema import NewerSchemaError
from discordplex.store.store import open_store
from discordplex.store.tables import REVISIONS, VERSION_TABLE
from discordplex.store.upgrade import upgrade
from tests.store.conftest import MakeUrl, Sql
from tests.store.test_schema import with_connection

SHARED_SINCE = "0006"
"""The first schema that several processes share. A later one may only add, or operators have to end all processes before it."""

Tables: TypeAlias = dict[str, dict[str, tuple[str, bool, bool]]]
"""The columns of each table: type, whether it must be given, whether it is part of the key."""


def tables(connection: Connection) -> Tables:
    """What a process of this schema relies on."""
    found: Tables = {}
    for table in inspect(connection).get_table_names():
        keys = inspect(connection).get_pk_constraint(table)["constrained_columns"]
        found[table] = {
            column["name"]: (str(column["type"]), not column["nullable"] and column["default"] is None, column["name"] in keys)
            for column in inspect(connection).get_columns(table)
        }
    return found


def broken(before: Tables, after: Tables) -> list[str]:
    """What a process that knows only `before` could not do any more."""
    faults = [f"table {table} is gone" for table in before.keys() - after.keys()]
    for table in before.keys() & after.keys():
        faults += [f"{table}.{name} is gone or another one" for name, column in before[table].items() if after[table].get(name) != column]
        new = {name: column for name, column in after[table].items() if name not in before[table]}
        faults += [f"{table}.{name} has to be given" for name, (_, is_required, is_key) in new.items() if is_required or is_key]
    return sorted(faults)


@pytest.mark.parametrize("revision", REVISIONS[REVISIONS.index(SHARED_SINCE) :])
async def test_a_migration_only_adds(tmp_path: Path, revision: str) -> None:
    """Who knows the schema before it can go on."""
    url, earlier = f"sqlite:///{tmp_path}/made.db", REVISIONS[REVISIONS.index(revision) - 1]
    await with_connection(url, lambda connection: upgrade(connection, earlier))
    before = await with_connection(url, tables)
    await with_connection(url, lambda connection: upgrade(connection, revision))
    assert broken(before, await with_connection(url, tables)) == []


OLD = "CREATE TABLE people (user_id INTEGER PRIMARY KEY, name TEXT NOT NULL, mood TEXT)"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("CREATE TABLE moods (mood TEXT PRIMARY KEY)", []),
        ("ALTER TABLE people ADD COLUMN colour TEXT", []),
        ("ALTER TABLE people ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'", []),
        ("CREATE INDEX by_mood ON people (mood)", []),
        ("DROP TABLE people", ["table people is gone"]),
        ("ALTER TABLE people RENAME TO persons", ["table people is gone"]),
        ("ALTER TABLE people DROP COLUMN mood", ["people.mood is gone or another one"]),
        ("ALTER TABLE people RENAME COLUMN mood TO temper", ["people.mood is gone or another one"]),
        (
            "DROP TABLE people; CREATE TABLE people (user_id INTEGER PRIMARY KEY, name TEXT NOT NULL, mood TEXT, colour TEXT NOT NULL)",
            ["people.colour has to be given"],
        ),
        (
            "DROP TABLE people; CREATE TABLE people (user_id INTEGER PRIMARY KEY, name TEXT NOT NULL, mood TEXT NOT NULL)",
            ["people.mood is gone or another one"],
        ),
        (
            "DROP TABLE people; CREATE TABLE people (user_id INTEGER PRIMARY KEY, name TEXT, mood INTEGER)",
            [
                "people.mood is gone or another one",
                "people.name is gone or another one",
            ],
        ),
    ],
)
def test_what_breaks_an_older_process(change: str, fault: list[str]) -> None:
    """The judge of the test above, by examples."""
    with create_engine("sqlite://").begin() as connection:
        connection.exec_driver_sql(OLD)
        before = tables(connection)
        for statement in change.split("; "):
            connection.exec_driver_sql(statement)
        assert broken(before, tables(connection)) == fault


async def test_a_process_of_several_does_not_begin_with_a_newer_schema(tmp_path: Path) -> None:
    """Alone it would go on in memory, and say so. Beside others it would not know who must not be heard, so it ends and they serve."""
    url = f"sqlite:///{tmp_path}/made.db"
    async with open_store(url):
        pass
    async with Sql(url) as other:
        await other(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608 - a constant of ours
        await other.commit()
    async with open_store(url, volatile=True) as store:
        assert store.volatile
    with pytest.raises(NewerSchemaError, match="Install that version"):
        async with open_store(url, volatile=True, shared=True):
            pass


async def test_who_had_it_open_goes_on_after_the_migration(make_postgresql_url: MakeUrl) -> None:
    """Also when it lost the database meanwhile and opens it again: what waited in it is saved. Alone, nobody opens a newer one."""
    url = make_postgresql_url()
    async with open_store(url, shared=True) as beside_others, open_store(url) as alone:
        async with Sql(url) as other:
            await other("ALTER TABLE people ADD COLUMN mood TEXT")
            await other(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608 - a constant of ours
            await other.commit()
        await beside_others.recover()
        assert not beside_others.volatile
        await beside_others.people.opt_out(1)
        assert await beside_others.opted_out() == {1}
        with pytest.raises(NewerSchemaError):
            await alone.recover()
        async with Sql(url) as other:
            assert await other(f"SELECT version_num FROM {VERSION_TABLE}") == [("9999",)]  # noqa: S608 - a constant of ours
