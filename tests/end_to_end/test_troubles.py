"""What people read when something is wrong, and what the bot does next."""

import asyncio

import pytest
from pydantic import SecretStr

from discordplex.bot.application import BotApplication
from discordplex.clock import SystemClock
from discordplex.config import Config, DiscordConfig, PersonaConfig
from discordplex.errors import LoginError
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import Connected, HandshakeSent
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.metrics import Metrics
from discordplex.personaplex.pool import PersonaPlexPool
from discordplex.store.store import open_store
from discordplex.voice.rtp.threads import SendThread
from tests.home import home_with


async def free_port() -> int:
    """A port on which nothing listens."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_nobody_answers_where_the_engine_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable engine is told once, in one sentence that names no address, and the process stays up."""
    url = f"ws://127.0.0.1:{await free_port()}/api/chat"
    async with home_with(monkeypatch=monkeypatch, urls=(url,)) as home:
        home.discord.enter(home.discord.people[0], home.lounge)
        sentence = await home.says(home.lounge, "No PersonaPlex server answers")
        assert "Traceback" not in sentence
        assert "127.0.0.1" not in sentence
        assert home.task
        assert not home.task.done()
        assert sum(sentence == text for text in home.texts(home.lounge)) == 1


async def test_an_engine_that_comes_late_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is started after the bot: the call that waits for it comes to life."""
    port = await free_port()
    async with home_with(monkeypatch=monkeypatch, urls=(f"ws://127.0.0.1:{port}/api/chat",)) as home:
        home.discord.enter(home.discord.people[0], home.lounge)
        await home.says(home.lounge, "No PersonaPlex server answers")
        async with StandInServer(mode="echo", port=port) as engine:
            await engine.log.wait_for(lambda log: log.of(HandshakeSent))
            home.discord.leave(home.discord.people[0])
            await home.sits_in(None)


async def test_a_bad_voice_is_refused_before_the_engine_is_bothered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A voice that does not exist gives a sentence, and no connection is made."""
    async with StandInServer(mode="echo") as engine:
        async with home_with(engine, monkeypatch=monkeypatch, persona=PersonaConfig(voice="NATF9.pt")) as home:
            home.discord.enter(home.discord.people[0], home.lounge)
            assert "NATF9" in await home.says(home.lounge, "voice")
        assert engine.log.of(Connected) == []


async def test_an_engine_that_hangs_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake that never comes ends in a sentence, not in silence."""
    silent = StandInServer(mode="echo", faults=Faults(no_handshake=True))
    async with silent as engine, home_with(engine, monkeypatch=monkeypatch, handshake_timeout_s=0.5) as home:
        home.discord.enter(home.discord.people[0], home.lounge)
        assert await home.says(home.lounge, "busy")
        assert home.task
        assert not home.task.done()


async def test_a_channel_that_the_bot_may_not_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing permission is named where people can read it, and the bot does not join.

    The chat of a channel that the bot may not enter is closed to it as well: the guild's text channel has the sentence.
    """

    def forbid(discord: LoopbackDiscord) -> None:
        guild = discord.guilds[0]
        discord.deny(guild, guild.voice_channels[0], discord.bots[0], "connect")

    async with StandInServer(mode="echo") as engine, home_with(engine, monkeypatch=monkeypatch, prepare=forbid) as home:
        home.discord.enter(home.discord.people[0], home.lounge)
        assert await home.says(home.discord.guilds[0].text_channel, "permission Connect")
        assert home.discord.voice_state(home.bot) is None


async def test_one_engine_two_guilds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second is told the place in the queue, and served when the engine is free; the bot does not sit in their channel before."""
    async with StandInServer(mode="echo") as engine, home_with(engine, monkeypatch=monkeypatch) as home:
        first, second = home.lounge, home.discord.guilds[1].voice_channels[0]
        home.discord.enter(home.discord.people[0], first)
        await home.says(first, "Go ahead")
        home.discord.enter(home.discord.people[1], second)
        assert "1" in await home.says(second, "queue")
        assert home.discord.world.voice_state(home.bot.id, second.guild_id) is None
        home.discord.leave(home.discord.people[0])
        await home.says(second, "Go ahead")
        await engine.log.wait_for(lambda log: len(log.of(HandshakeSent)) == 2)


async def test_a_wrong_token_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discord refuses the token: one sentence, and nothing is left running."""
    async with LoopbackDiscord() as discord:
        monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
        config = Config(discord=DiscordConfig(token=SecretStr("not-a-token"), api_url=discord.api_url + "/v10"))
        clock, metrics = SystemClock(), Metrics()
        async with open_store("sqlite://") as store:
            with SendThread(clock=clock, metrics=metrics) as send_thread:
                provider = PersonaPlexPool(config.personaplex, clock=clock)
                application = BotApplication(
                    config=config, provider=provider, store=store, send_thread=send_thread, clock=clock, metrics=metrics
                )
                with pytest.raises(LoginError, match="token"):
                    await application.run()
