"""From every older schema to today's, and no further."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.store import address
from discordplex.store.backends import open_backend
from discordplex.store.records import (
    CaptionsSetting,
    Choice,
    GuildSettings,
    Owner,
    PersonSettings,
    QueueEntry,
    SavedPersona,
    TranscriptLine,
)
from discordplex.store.schema import make, version_of
from discordplex.store.store import Store, open_store
from discordplex.store.tables import METADATA, REVISIONS, VERSION_TABLE
from discordplex.store.upgrade import MIGRATIONS, upgrade

HISTORY = Path(__file__).parent / "history"
NOON = datetime(2026, 1, 2, 12, 30, 15, 250_000, tzinfo=timezone.utc)


async def with_connection(url: str, work: Callable[[Connection], Any]) -> Any:
    """What `work` answers within a transaction on a database that no store has opened."""
    where = address.parse(url)
    where.prepare()
    engine = open_backend(where, busy_s=2).engine
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def test_the_revisions_are_a_chain() -> None:
    """The list in the code and the scripts are the same, and each script follows the one before."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    chain = list(scripts.walk_revisions())[::-1]
    assert tuple(one.revision for one in chain) == REVISIONS
    assert [one.down_revision for one in chain] == [None, *REVISIONS[:-1]]


@pytest.mark.parametrize("way", ["migrated", "made"])
async def test_both_ways_lead_to_the_tables_of_the_code(url: str, way: str) -> None:
    """A database that went through every migration differs in nothing from what the code describes, nor does one that is new."""
    if way == "migrated":
        await with_connection(url, upgrade)
    async with open_store(url):
        pass

    def differences(connection: Connection) -> Any:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "version_table": VERSION_TABLE})
        return compare_metadata(context, METADATA)

    assert await with_connection(url, differences) == []
    assert await with_connection(url, version_of) == REVISIONS[-1]


async def check_history(store: Store) -> None:
    """What the rows in `history/` say, as it is read today."""
    assert await store.guilds.get(1) == GuildSettings(
        guild_id=1,
        captions=CaptionsSetting("channel", 11),
        choice=Choice(voice="NATM1.pt", text_prompt="You are a pirate.\nYou say “arr”.", name="Pirate"),
        transcripts=True,
        idle_minutes=5,
        max_minutes=30,
        allowed_channels=frozenset({12}),
        denied_roles=frozenset({13}),
    )
    assert await store.people.opted_out() == {4000000000000000001}
    assert await store.people.get(2) == PersonSettings(2, choice=Choice(voice="VARF0.pt"))
    cook = Persona(voice="NATF1.pt", text_prompt="You are a cook.")
    assert await store.personas.list(Owner("person", 2)) == (SavedPersona(Owner("person", 2), "Cook", cook),)
    assert await store.queue.list() == (QueueEntry(3, 31, 2, NOON), QueueEntry(1, 12, None, NOON))
    assert await store.transcripts.read(1, "call") == (
        TranscriptLine(1, "call", 2, NOON, "Hello; 'quoted'"),
        TranscriptLine(1, "call", None, NOON, "Hi!"),
    )


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_database_of_each_revision_is_migrated(url: str, revision: str) -> None:
    """A database that an older release wrote opens with everything that was in it, takes new settings, and opens again."""
    rows = (HISTORY / f"{revision}_rows.sql").read_text(encoding="utf-8")

    def make_old(connection: Connection) -> None:
        upgrade(connection, revision)
        for statement in rows.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)

    await with_connection(url, make_old)
    for _ in "migrated", "again":
        async with open_store(url) as store:
            await check_history(store)
            await store.queue.enter(QueueEntry(9, 9, None, NOON))
            assert (await store.queue.list())[-1] == QueueEntry(9, 9, None, NOON)
            await store.queue.leave(9, 9)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_released_revision_is_what_it_was(tmp_path: Path, revision: str) -> None:
    """Its script makes the very schema that was released with it, word by word."""
    released = sqlite3.connect(":memory:")
    released.executescript((HISTORY / f"{revision}_schema.sql").read_text(encoding="utf-8"))
    url = f"sqlite:///{tmp_path}/made.db"
    await with_connection(url, lambda connection: upgrade(connection, revision))
    made = sqlite3.connect(tmp_path / "made.db")
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    try:
        assert made.execute(query).fetchall() == released.execute(query).fetchall()
    finally:
        made.close()
        released.close()


async def test_a_newer_schema_is_not_touched(url: str, sql: Callable[[], Any]) -> None:
    """A database of a release to come is refused in words that say what to do, and stays as it is."""
    async with open_store(url) as store:
        await store.people.opt_out(1)
    async with sql() as other:
        await other(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608 - a constant of ours
        await other.commit()
    with pytest.raises(StoreError, match=r"newer discordplex \(schema 9999, this one knows .*nothing was changed"):
        async with open_store(url):
            pass
    async with sql() as other:
        assert await other(f"SELECT version_num FROM {VERSION_TABLE}") == [("9999",)]  # noqa: S608 - a constant of ours
        assert await other("SELECT user_id FROM people") == [(1,)]


async def test_a_database_of_another_program_is_not_touched(url: str, sql: Callable[[], Any]) -> None:
    """Where one of our tables' names is taken, nothing is made."""
    await with_connection(url, lambda connection: connection.exec_driver_sql("CREATE TABLE people (name TEXT)"))
    with pytest.raises(StoreError, match=r"belongs to another program \(it has a table 'people'\)"):
        async with open_store(url):
            pass
    assert await with_connection(url, lambda connection: inspect(connection).get_table_names()) == ["people"]
    async with sql() as other:
        assert await other("SELECT name FROM people") == []


@pytest.mark.parametrize("way", [upgrade, make], ids=["migrated", "made"])
async def test_a_way_that_fails_leaves_what_was(url: str, monkeypatch: pytest.MonkeyPatch, way: Callable[[Connection], None]) -> None:
    """All steps or none: after one that broke, the next start begins where this one did."""

    def break_after(connection: Connection) -> None:
        way(connection)
        raise RuntimeError("half way")

    monkeypatch.setattr("discordplex.store.schema.make", break_after)
    with pytest.raises(RuntimeError, match="half way"):
        async with open_store(url):
            pass
    monkeypatch.undo()
    assert await with_connection(url, lambda connection: inspect(connection).has_table("people")) is False
    async with open_store(url) as store:
        await store.guilds.change(1, lambda now: replace(now, transcripts=True))
