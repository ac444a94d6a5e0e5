"""Two processes of one bot, here in one: real gateway connections and a real PostgreSQL server between them."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from discordplex.loopback import timeouts
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.personaplex.log import Connected
from discordplex.loopback.personaplex.server import StandInServer
from tests.bot.conftest import WRITES, opened
from tests.bot.processes import one_process
from tests.home import Home
from tests.store.conftest import MakeUrl
from tests.store.conftest import cluster as postgresql
from tests.store.conftest import make_postgresql_url as make_postgresql_url  # noqa: PLC0414 - a fixture

cluster = postgresql


@pytest.fixture
async def home(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    """One engine; the first two guilds are on different shards, which may log in at the same time."""
    async with opened(LoopbackDiscord(writes=WRITES, shards=2, max_concurrency=2), monkeypatch) as home:
        yield home


async def test_who_waits_is_served_by_the_process_that_comes_after(home: Home, make_postgresql_url: MakeUrl) -> None:
    """A process is drained: its call goes on until its people leave, nobody else is called, and the next process takes over who waits."""
    url, other = make_postgresql_url(), home.discord.guilds[1].voice_channels[0]
    async with one_process(home, url) as first:
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "listening")
        home.discord.enter(home.ben, other)
        await home.says(other, "number 1 in the queue")
        answer = await home.press("status", person=home.ben, place=other)
        assert "queue" in answer.content, answer.content
        draining = asyncio.create_task(first.drain(60.0))
        async with one_process(home, url):
            home.discord.leave(home.ada)
            await timeouts.wait_for(draining, 20.0)
            assert not any("listening" in text for text in home.texts(other))
            first.stop()
            await home.says(other, "listening", timeout_s=20.0)
            joined = await home.press("join", person=home.ben, place=other)
            assert other.id in joined.content
            home.discord.leave(home.ben)
            await home.discord.wait_for(lambda: not home.discord.world.voice_states.get((other.guild_id, home.bot.id)))
    assert len(home.engine.log.of(Connected)) == 2


async def test_a_shard_that_another_process_took_is_given_up(home: Home, make_postgresql_url: MakeUrl) -> None:
    """As after a freeze: the call there ends and another shard's goes on. When the other process dies, the people are called again."""
    url, other = make_postgresql_url(), home.discord.guilds[1].voice_channels[0]
    async with StandInServer(mode="echo") as engine, one_process(replace(home, engines=(*home.engines, engine)), url):
        home.discord.enter(home.ada, home.lounge)
        home.discord.enter(home.ben, other)
        await home.says(home.lounge, "listening")
        await home.says(other, "listening")
        asyncpg: Any = importlib.import_module("asyncpg")
        database = await asyncpg.connect(dsn=url)
        await database.execute(
            "INSERT INTO cluster_members SELECT 'another', 'another', version, '', true, started_at, expires_at FROM cluster_members"
        )
        await database.execute("UPDATE cluster_shards SET holder = 'another' WHERE shard = 1")
        await database.close()
        await home.says(other, "ended", timeout_s=10.0)
        await home.discord.wait_for(lambda: len(home.texts(other)) > 1 and "listening" in home.texts(other)[-1], timeout_s=30.0)
        assert len(home.texts(home.lounge)) == 1
        home.discord.leave(home.ada)
        home.discord.leave(home.ben)
        await home.discord.wait_for(lambda: home.where is None)
