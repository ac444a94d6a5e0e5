"""A bot divided into two shards on the loopback: real py-cord, real voice, stand-in engines."""

import functools
from collections.abc import AsyncIterator

import pytest

from discordplex.bot import connections, shards
from discordplex.bot.shards import Pace
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import Channel
from discordplex.loopback.personaplex.log import Connected
from discordplex.loopback.personaplex.server import StandInServer
from tests.home import Home


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that is lost is connected again soon."""
    monkeypatch.setattr(connections, "FIRST_PAUSE_S", 0.05)


@pytest.fixture
async def divided(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    """Discord recommends two shards and lets both log in at once. The two guilds belong to different ones."""
    async with LoopbackDiscord(shards=2, max_concurrency=2) as discord, StandInServer() as first, StandInServer() as second:
        monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
        assert {(int(guild.id) >> 22) % 2 for guild in discord.guilds} == {0, 1}
        yield Home(discord, (first, second))


def room(home: Home, guild: int) -> Channel:
    return home.discord.guilds[guild].voice_channels[0]


async def sits_in_both(home: Home) -> None:
    """Wait until the bot is in the first channel of both guilds."""
    for guild in home.discord.guilds:
        await home.discord.wait_for(functools.partial(home.discord.world.voice_states.get, (guild.id, home.bot.id)))


async def test_each_guild_is_served_by_its_shard(divided: Home) -> None:
    """Both guilds have a call at once, commands work in both, and they were registered once."""
    home = divided
    async with home.bot_running():
        home.discord.enter(home.ada, room(home, 0))
        home.discord.enter(home.ben, room(home, 1))
        await sits_in_both(home)
        for guild in (0, 1):
            await home.says(room(home, guild), "Go ahead")
        assert sorted(home.discord.gateway.sessions.logins) == [(0, 2), (1, 2)]
        await home.commands_there()
        for guild, person in ((0, home.ada), (1, home.ben)):
            answer = await home.press("status", person=person, place=room(home, guild))
            assert "2 of 2" in answer.content
    assert home.discord.rest.calls["PUT", f"/applications/{home.bot.id}/commands"] == 1


async def test_a_shard_that_is_lost_costs_the_other_guild_nothing(divided: Home) -> None:
    """Its call ends, and begins again when the shard is connected; the other call never notices."""
    home = divided
    async with home.bot_running():
        home.discord.enter(home.ada, room(home, 0))
        home.discord.enter(home.ben, room(home, 1))
        await sits_in_both(home)
        for engine in home.engines:
            await engine.log.wait_for(lambda log: log.of(Connected))
        lost = (int(home.discord.guilds[0].id) >> 22) % 2
        home.discord.gateway.sessions.end_all(lost)
        await home.discord.gateway.drop(home.bot.id, code=4010, shard=lost)
        await home.discord.wait_for(lambda: home.discord.gateway.sessions.logins.count((lost, 2)) == 2)
        await home.discord.wait_for(lambda: sum(len(engine.log.of(Connected)) for engine in home.engines) == 3)
        await sits_in_both(home)
    assert home.discord.gateway.sessions.logins.count((1 - lost, 2)) == 1
    assert sorted(len(engine.log.of(Connected)) for engine in home.engines) == [1, 2]


async def test_whoever_waits_does_not_overtake_the_people_of_a_lost_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """One engine, two guilds: the first has a call, the second waits. The first one's shard is lost, and it is served first again."""
    async with LoopbackDiscord(shards=2, max_concurrency=2) as discord, StandInServer() as engine:
        monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
        home = Home(discord, (engine,))
        async with home.bot_running():
            home.discord.enter(home.ada, room(home, 0))
            await home.says(room(home, 0), "Go ahead")
            home.discord.enter(home.ben, room(home, 1))
            await home.says(room(home, 1), "number 1 in the queue")
            lost = (int(discord.guilds[0].id) >> 22) % 2
            discord.gateway.sessions.end_all(lost)
            await discord.gateway.drop(home.bot.id, code=4010, shard=lost)
            await engine.log.wait_for(lambda log: len(log.of(Connected)) == 2)
            await discord.wait_for(lambda: discord.world.voice_states.get((discord.guilds[0].id, home.bot.id)))
            assert (discord.guilds[1].id, home.bot.id) not in discord.world.voice_states


async def test_a_bot_with_too_many_guilds_is_divided_anew(divided: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discord refuses one connection (4011) and recommends two at the next question."""
    home, sessions = divided, divided.discord.gateway.sessions
    monkeypatch.setattr("discordplex.bot.application.FIRST_PAUSE_S", 0.05)
    sessions.shards, sessions.required_shards = 1, 2
    advise = home.discord.rest.advise

    def grown() -> dict[str, object]:
        answer = dict(advise())
        sessions.shards = 2
        return answer

    home.discord.rest.advise = grown
    async with home.bot_running():
        home.discord.enter(home.ada, room(home, 0))
        await home.says(room(home, 0), "Go ahead")
    assert sorted(sessions.logins) == [(0, 2), (1, 2)]


async def test_shards_that_have_become_too_few_are_replaced_although_one_is_still_connected(
    divided: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discord refuses one of two shards (4011): its guilds would never be served again until both are replaced by more."""
    home, sessions = divided, divided.discord.gateway.sessions
    monkeypatch.setattr("discordplex.bot.application.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(shards, "IDENTIFY_S", 0.05)
    monkeypatch.setattr(shards, "pace_of_identifies", lambda _: Pace(first_s=0.05, longest_s=0.2, lasting_s=60.0))
    monkeypatch.setattr("discordplex.loopback.discord.gateway.sessions.IDENTIFY_S", 0.0)
    async with home.bot_running():
        await home.discord.wait_for(lambda: len(sessions.logins) == 2)
        sessions.shards = sessions.required_shards = sessions.max_concurrency = 4
        sessions.end_all(0)
        await home.discord.gateway.drop(home.bot.id, code=4010, shard=0)
        await home.discord.wait_for(lambda: len(sessions.logins) == 6)
        home.discord.enter(home.ada, room(home, 0))
        await home.says(room(home, 0), "Go ahead")
    assert sorted(sessions.logins[2:]) == [(number, 4) for number in range(4)]
