"""Which shards a process of a cluster gets, and which it must not: here several in one, with a real PostgreSQL server between them."""

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from discordplex.bot import shards
from discordplex.bot.application import BotApplication
from discordplex.bot.client import GatewayClient
from discordplex.bot.login import Login
from discordplex.bot.shards import AskError, Pace, Shard, ask_who
from discordplex.errors import ConfigError
from discordplex.loopback import timeouts
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.monitoring.readiness import readiness
from discordplex.sharding import shard_of
from tests.bot.conftest import WRITES, opened
from tests.bot.processes import one_process, soon
from tests.home import Home
from tests.store.conftest import MakeUrl
from tests.store.conftest import cluster as postgresql
from tests.store.conftest import make_postgresql_url as make_postgresql_url  # noqa: PLC0414 - a fixture

cluster = postgresql

EACH_OF_FOUR = {(number, 4) for number in range(4)}


@pytest.fixture
async def home(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    """Two shards, which may log in at the same time."""
    async with opened(LoopbackDiscord(writes=WRITES, shards=2, max_concurrency=2), monkeypatch) as home:
        yield home


async def test_another_bot_is_turned_away(home: Home, make_postgresql_url: MakeUrl) -> None:
    """Both would divide each other's shards between them. It takes none before it knows whose they are, and says what to do."""
    url, sessions = make_postgresql_url(), home.discord.gateway.sessions
    async with one_process(home, url):
        await home.discord.wait_for(lambda: len(sessions.logins) == 2)
        other = home.discord.bots[1]
        with pytest.raises(ConfigError) as refused:
            async with one_process(home, url, token=other.token) as application:
                await timeouts.wait_for(asyncio.shield(ended(application)), 20.0)
        assert f"is {home.bot.id}, and of this one {other.id}." in str(refused.value)
        assert other.token not in str(refused.value)
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "listening")
        home.discord.leave(home.ada)
    assert len(sessions.logins) == 2


async def ended(application: object) -> None:
    """Wait for the end of an application's task, which raises at the end of its block."""
    bots = [task for task in asyncio.all_tasks() if task.get_name() == "bot"]
    del application
    await asyncio.wait(bots, return_when=asyncio.FIRST_COMPLETED)


async def test_who_does_not_reach_discord_has_no_shard(
    home: Home, make_postgresql_url: MakeUrl, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have them all, and its tries become rarer than those of a bot that is alone."""
    monkeypatch.setattr("discordplex.bot.application.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("discordplex.bot.application.LONGEST_PAUSE_S", 0.05)
    url, sessions = make_postgresql_url(), home.discord.gateway.sessions
    with capture_logs() as lines:
        async with one_process(home, url, api_url=f"http://127.0.0.1:{closed_port}/v10") as alone, one_process(home, url) as other:
            await home.discord.wait_for(lambda: len(sessions.logins) == 2, timeout_s=20.0)
            home.discord.enter(home.ada, home.lounge)
            await home.says(home.lounge, "listening")
            await soon(lambda: any(line["retry_in_s"] > 0.5 for line in lines if line["event"] == "discord unreachable"))
            seen = alone.overview().cluster
            assert seen
            assert [(len(one.shards), one.draining) for one in seen.processes] == [(0, True), (2, False)]
            assert readiness(other.overview(), "ok").ready
            assert not readiness(alone.overview(), "ok").ready
            home.discord.leave(home.ada)


async def test_too_few_shards_are_replaced_in_all_processes(
    home: Home, make_postgresql_url: MakeUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discord refuses one of two shards (4011) and recommends four: both processes change to four, and everybody is served again."""
    monkeypatch.setattr("discordplex.bot.application.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("discordplex.cluster.arbiter.LOGIN_SPACING_S", 0.05)
    monkeypatch.setattr("discordplex.loopback.discord.gateway.sessions.IDENTIFY_S", 0.0)
    monkeypatch.setattr(shards, "pace_of_identifies", lambda _: Pace(first_s=0.05, longest_s=0.2, lasting_s=60.0))
    url, sessions, other = make_postgresql_url(), home.discord.gateway.sessions, home.discord.guilds[1].voice_channels[0]
    with capture_logs() as lines:
        async with one_process(home, url) as one, one_process(home, url) as two:
            await soon(lambda: one.overview().discord == two.overview().discord == "connected")
            sessions.shards = sessions.required_shards = sessions.max_concurrency = 4
            sessions.end_all(0)
            await home.discord.gateway.drop(home.bot.id, code=4010, shard=0)
            await home.discord.wait_for(
                lambda: {number for number, count in sessions.logins if count == 4} == set(range(4)), timeout_s=30.0
            )
            home.discord.enter(home.ada, home.lounge)
            await home.says(home.lounge, "listening", timeout_s=20.0)
            home.discord.leave(home.ada)
            await home.discord.wait_for(lambda: home.where is None)
            home.discord.enter(home.ben, other)
            await home.says(other, "listening", timeout_s=20.0)
            home.discord.leave(home.ben)
            seen = one.overview().cluster
            assert seen
            assert seen.shards == 4
    assert {line["shards"] for line in lines if line["event"] == "too few gateway connections"} == {2}
    given_up = [line["shard"] for line in lines if line["event"] == "shard given up"]
    assert max(given_up.count(shard) for shard in given_up) <= len((one, two))


async def test_a_number_that_is_not_used_is_told(home: Home, make_postgresql_url: MakeUrl) -> None:
    """Two processes with different `discord.shards`: the first one's is used, and the other one says so."""
    url, sessions = make_postgresql_url(), home.discord.gateway.sessions
    async with one_process(home, url, shards=2):
        await home.discord.wait_for(lambda: len(sessions.logins) == 2)
        with capture_logs() as lines:
            async with one_process(home, url, shards=8) as other:
                await soon(lambda: other.overview().discord == "connected", 30.0)
    (told,) = [line for line in lines if line["event"] == "discord.shards not used"]
    assert (told["wanted"], told["used"]) == (8, 2)
    assert {count for _, count in sessions.logins} == {2}


async def test_who_the_bot_is_comes_from_discord(home: Home) -> None:
    """By its own answer; another one is no answer."""
    url = f"{home.discord.api_url}/v10"
    assert await ask_who(url, home.bot.token) == home.bot.id
    with pytest.raises(AskError):
        await ask_who(f"{url}/nowhere", home.bot.token)


async def test_one_shard_that_cannot_be_connected_is_left_to_others(
    home: Home, make_postgresql_url: MakeUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the process has no file left for it. It keeps its other shard, and the guild is served by the other process."""
    monkeypatch.setattr("discordplex.bot.connections.STUCK_S", 0.0)
    monkeypatch.setattr("discordplex.bot.connections.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("discordplex.cluster.arbiter.MOVE_PAUSE_S", 0.05)
    url, sessions = make_postgresql_url(), home.discord.gateway.sessions
    sessions.shards = sessions.max_concurrency = 4
    shard = shard_of(int(home.lounge.guild_id), 4)
    make_client, without_files = Login.make_client, list[Login | None]()

    def make(login: Login, wanted: Shard) -> GatewayClient:
        if wanted.number == shard and login in without_files:
            raise OSError(errno.EMFILE, "too many open files")
        return make_client(login, wanted)

    def held(process: BotApplication) -> set[int]:
        """The shards of a process that are connected."""
        return {client.shard.number for client in process._login._connections.clients if client.is_connected} if process._login else set()

    monkeypatch.setattr(Login, "make_client", make)
    async with one_process(home, url) as first, one_process(home, url) as second:
        await soon(lambda: len(held(first)) == len(held(second)) == 2)
        failing, other = (first, second) if shard in held(first) else (second, first)
        kept = held(failing) - {shard}
        without_files.append(failing._login)
        with capture_logs() as lines:
            sessions.end_all(shard)
            await home.discord.gateway.drop(home.bot.id, code=4010, shard=shard)
            await soon(lambda: held(other) == {0, 1, 2, 3} - kept)
        assert held(failing) == kept
        assert [line["shard"] for line in lines if line["event"] == "shard left to others"] == [shard]
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "listening")
        home.discord.leave(home.ada)
