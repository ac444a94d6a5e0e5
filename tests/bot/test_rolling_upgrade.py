"""A rolling upgrade with a migration in it: processes of the old and of the new version side by side, here in one."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import Channel, User
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.store import schema, upgrade
from discordplex.store.store import open_store
from discordplex.store.tables import REVISIONS, VERSION_TABLE
from tests.bot.conftest import WRITES, opened
from tests.bot.processes import one_process, soon
from tests.home import Home
from tests.store.conftest import MakeUrl, Sql
from tests.store.conftest import cluster as postgresql
from tests.store.conftest import make_postgresql_url as make_postgresql_url  # noqa: PLC0414 - a fixture

cluster = postgresql

NEXT = "9001"
MIGRATION = f'''
"""Of a version to come."""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{REVISIONS[-1]}"


def upgrade() -> None:
    op.create_table("moods", sa.Column("mood", sa.Text, primary_key=True))
    op.add_column("people", sa.Column("mood", sa.Text))
    op.add_column("cluster_members", sa.Column("mood", sa.Text, nullable=False, server_default="good"))
'''


@pytest.fixture
async def home(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    """Two shards, which may log in at the same time, and two engines."""
    async with (
        opened(LoopbackDiscord(writes=WRITES, shards=2, max_concurrency=2), monkeypatch) as home,
        StandInServer(mode="echo") as engine,
    ):
        yield Home(home.discord, (*home.engines, engine))


def next_version(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """From now on, processes that start know one migration more."""
    shutil.copytree(upgrade.MIGRATIONS, folder)
    (folder / "versions" / "v9001_mood.py").write_text(MIGRATION, encoding="utf-8")
    monkeypatch.setattr(upgrade, "MIGRATIONS", folder)
    monkeypatch.setattr(schema, "REVISIONS", (*REVISIONS, NEXT))


async def chose(home: Home, person: User, place: Channel, role: str) -> None:
    """A person chooses a role; the process of this guild acknowledges it."""
    answer = await home.press("persona set", {"role": role}, person=person, place=place)
    assert role in answer.content, answer.content


async def has_chosen(home: Home, person: User, place: Channel) -> str:
    """What the process of this guild says of the choice."""
    return (await home.press("persona show", person=person, place=place)).content


async def test_old_and_new_processes_side_by_side(
    home: Home, make_postgresql_url: MakeUrl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The new one migrates while a call of the old one goes on; what each saves the other reads; an old one that starts now is refused."""
    url, places = make_postgresql_url(), (home.lounge, home.discord.guilds[1].voice_channels[0])
    async with AsyncExitStack() as old, AsyncExitStack() as new:
        first = await old.enter_async_context(one_process(home, url))
        await soon(lambda: first.overview().discord == "connected")
        await chose(home, home.ada, places[0], "a sailor")
        home.discord.enter(home.ada, places[0])
        await home.says(places[0], "listening")

        next_version(monkeypatch, tmp_path / "migrations")
        second = await new.enter_async_context(one_process(home, url))
        await soon(lambda: second.overview().discord == "connected")  # the shard without a call is its own by now
        async with Sql(url) as other:
            assert await other(f"SELECT version_num FROM {VERSION_TABLE}") == [(NEXT,)]  # noqa: S608 - a constant of ours
            assert await other("SELECT DISTINCT mood FROM cluster_members") == [("good",)]
        await chose(home, home.ben, places[1], "a baker")
        home.discord.enter(home.ben, places[1])
        await home.says(places[1], "listening")
        await chose(home, home.ada, places[0], "a captain")  # by the old process, into the new schema
        assert len(home.texts(places[0])) == 1

        with monkeypatch.context() as of_old:
            of_old.setattr(schema, "REVISIONS", REVISIONS)
            with pytest.raises(schema.NewerSchemaError):
                async with open_store(url, volatile=True, shared=True):
                    pass

        await old.aclose()  # its people are called again by the new one
        await home.discord.wait_for(lambda: len(home.texts(places[0])) > 1 and "listening" in home.texts(places[0])[-1], timeout_s=30.0)
        assert "a captain" in await has_chosen(home, home.ada, places[0])
        third = await new.enter_async_context(one_process(home, url))
        assert len(home.texts(places[1])) == 1, "nobody in a call of another process was cut off"
        home.discord.leave(home.ada)
        await soon(lambda: third.overview().discord == "connected", 30.0)
        assert "a captain" in await has_chosen(home, home.ada, places[0])
        assert "a baker" in await has_chosen(home, home.ben, places[1])
        home.discord.leave(home.ben)
