"""The whole bot on the loopback Discord: real py-cord, real voice connection, real PersonaPlex client, a stand-in engine."""

import asyncio
import errno
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
import pytest
import structlog
from aiohttp import web

from discordplex.bot import application, client, login, shards, texts
from discordplex.bot.application import BotApplication
from discordplex.bot.chat import poster
from discordplex.bot.client import GatewayClient
from discordplex.bot.login import Login
from discordplex.bot.scheduling import dispatcher
from discordplex.bot.scheduling.usage import HOUR_S
from discordplex.bot.shards import Pace, Shard
from discordplex.clock import SystemClock
from discordplex.config import BotConfig, Config, DiscordConfig, LimitsConfig, PersonaConfig
from discordplex.errors import ConfigError, LoginError
from discordplex.loopback import timeouts
from discordplex.loopback.discord.gateway import dispatches
from discordplex.loopback.discord.gateway.connection import GatewayConnection
from discordplex.loopback.discord.rest.api import Route
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import User
from discordplex.loopback.personaplex.log import Connected, ConversationClosed
from discordplex.personaplex import pool
from discordplex.personaplex.pool import PersonaPlexPool
from discordplex.store.records import HourOfUse
from discordplex.store.store import open_store
from discordplex.voice.rtp.threads import SendThread
from tests.home import REAL_WRITE_INTERVAL_S, Home

NOWHERE = "ws://127.0.0.1:9/api/chat"


async def test_a_person_comes_talks_and_goes(home: Home) -> None:
    """The bot joins, says that it listens and to whom one talks, opens the engine; when the person leaves, it leaves and hangs up."""
    async with home.bot_running():
        await home.discord.wait_for(lambda: home.discord.gateway.online(home.bot.id))
        home.discord.enter(home.ada, home.lounge)
        await home.sits_in(home.lounge, timeout_s=2)
        await home.says(home.lounge, "listening")
        await home.listens()
        greeting = await home.says(home.lounge, "Go ahead")
        assert "NATF0.pt" in greeting
        assert len(home.texts(home.lounge)) == 1
        home.discord.leave(home.ada)
        await home.sits_in(None, timeout_s=5)
        await home.engine.log.wait_for(lambda log: log.of(ConversationClosed), 5)
    assert [closed.by for closed in home.engine.log.of(ConversationClosed)] == ["client"]
    assert len(home.engine.log.of(Connected)) == 1


async def test_who_sits_there_already_counts_as_entering(home: Home) -> None:
    """At start the bot joins people, and not a channel in which only bots sit."""
    home.discord.enter(home.discord.bots[1], home.study)
    home.discord.enter(home.discord.bots[2], home.lounge)
    home.discord.enter(home.ada, home.lounge)
    async with home.bot_running():
        await home.sits_in(home.lounge)
        await home.listens()
    assert home.texts(home.study) == []


async def test_bots_alone_are_left_alone(home: Home) -> None:
    """Another bot calls nobody, and when the last person leaves it is no reason to stay."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.sits_in(home.lounge)
        home.discord.enter(home.discord.bots[1], home.lounge)
        home.discord.leave(home.ada)
        await home.sits_in(None, timeout_s=5)


async def test_stop_in_the_middle_of_a_call(home: Home) -> None:
    """A person still sits there: the bot leaves the channel, the engine is closed by us, and it all ends in time."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
    await home.engine.log.wait_for(lambda log: log.of(ConversationClosed))
    assert [closed.by for closed in home.engine.log.of(ConversationClosed)] == ["client"]


async def test_what_the_engine_says_is_written(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is one message in the voice channel's own chat, its mentions are harmless, and no two writes fall into one second."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        for piece in (" Good", " morning,", " *dear* @everyone."):
            home.engine.inject(b"\x02" + piece.encode())
        text = await home.says(home.lounge, "everyone")
        assert text == r"Good morning, \*dear\* @everyone."
    message = next(message for message in home.discord.messages(home.lounge) if "everyone" in message.content)
    assert message.body["allowed_mentions"] == {"parse": []}
    writes = sorted(revision.at_s for message in home.discord.messages(home.lounge) for revision in message.revisions)
    assert len(writes) >= 3
    assert all(later - sooner >= 1.0 for sooner, later in itertools.pairwise(writes))


@pytest.mark.parametrize("captions", ["text", "off"])
async def test_captions_go_where_the_setting_says(home: Home, captions: str) -> None:
    """Into a text channel by its id, or nowhere."""
    setting = BotConfig(captions=home.guild.text_channel.id if captions == "text" else "off")
    async with home.bot_running(home.config(bot=setting)):
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        if captions == "text":
            await home.says(home.guild.text_channel, "listening")
    assert home.texts(home.lounge) == []
    assert bool(home.texts(home.guild.text_channel)) == (captions == "text")


async def test_the_other_guild_waits_for_the_engine(home: Home) -> None:
    """It is told its place, is not joined while it waits, and is served when the first call ends."""
    other = home.discord.guilds[1].voice_channels[0]
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        home.discord.enter(home.ben, other)
        await home.says(other, "number 1 in the queue")
        assert home.where == home.lounge.id
        home.discord.leave(home.ada)
        await home.sits_in(other)
        await home.says(other, "listening")
    assert len(home.engine.log.of(Connected)) == 2


async def test_a_second_channel_is_told_where_the_bot_is(home: Home) -> None:
    """Its people may come over; when the call ends and they still sit there, it is their turn."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.sits_in(home.lounge)
        home.discord.enter(home.ben, home.study)
        await home.says(home.study, f"<#{home.lounge.id}>")
        home.discord.leave(home.ada)
        await home.sits_in(home.study)


async def test_the_bot_follows_with_the_same_conversation(home: Home) -> None:
    """Everybody moves: so does the bot, and the engine notices nothing."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        home.discord.enter(home.ben, home.lounge)
        await home.listens()
        await home.discord.move(home.ada, home.study)
        await home.discord.move(home.ben, home.study)
        await home.sits_in(home.study)
        home.engine.inject(b"\x02 Still here.")
        await home.says(home.study, "Still here.")
    assert len(home.engine.log.of(Connected)) == 1


async def test_a_bot_that_was_thrown_out_stays_out(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, hangs up, and comes back when somebody asks, not by itself."""
    monkeypatch.setattr(dispatcher, "FIRST_PAUSE_S", 0.0)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        home.discord.kick_from_voice(home.bot)
        await home.says(home.lounge, "Use `/join` to call me back")
        await home.engine.log.wait_for(lambda log: log.of(ConversationClosed))
        reply = await home.discord.press_slash(home.ada, home.lounge, "join")
        assert reply.content == texts.calls.joined(int(home.lounge.id))
        await home.listens(2)


@pytest.mark.parametrize(
    ("obstruct", "sentence"),
    [
        (lambda home: home.discord.deny(home.guild, home.lounge, home.bot, "speak"), "permission Speak"),
        (lambda home: home.discord.deny(home.guild, home.lounge, home.bot, "connect"), "permission Connect"),
        (lambda home: home.discord.limit_users(home.lounge, 1), "It is full"),
    ],
    ids=["speak", "connect", "full"],
)
async def test_what_keeps_the_bot_out_is_said_where_people_see_it(home: Home, obstruct: Callable[[Home], None], sentence: str) -> None:
    """One sentence, once, in the channel's chat, or in the server's first channel where that is closed to the bot; and no try to join."""
    obstruct(home)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        closed = "Connect" in sentence
        where = home.guild.text_channel if closed else home.lounge
        await home.says(where, sentence)
        home.discord.enter(home.ben, home.lounge)
        reply = await home.discord.press_slash(home.ada, home.guild, "join")
        assert sentence in reply.content
    assert len(home.texts(where)) == 1
    assert home.engine.log.of(Connected) == []


async def test_an_unreachable_engine_is_said_once(home: Home) -> None:
    """However often it is tried."""
    async with home.bot_running(home.config(urls=(NOWHERE,))):
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "I keep trying")
        home.discord.leave(home.ada)
        await home.sits_in(None)
    assert len(home.texts(home.lounge)) == 2


async def test_a_persona_that_the_engine_would_refuse_is_not_tried(home: Home) -> None:
    """A bad voice is told in words before the channel is joined."""
    async with home.bot_running(home.config(persona=PersonaConfig(voice="NATX9.pt"))):
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "NATX9")
    assert home.engine.log.of(Connected) == []


async def test_a_voice_server_that_demands_encryption_is_explained(home: Home) -> None:
    """Close code 4017 becomes a sentence, and the bot is out of the channel."""
    home.discord.voice.refuse(home.bot.id, 4017)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "4017")
        await home.sits_in(None)


async def test_a_gateway_drop_does_not_end_the_call(home: Home) -> None:
    """py-cord resumes, the conversation goes on, and what people do afterwards is seen."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        await home.discord.gateway.drop(home.bot.id, code=4000)
        await home.discord.wait_for(lambda: not home.discord.gateway.online(home.bot.id))
        await home.discord.wait_for(lambda: home.discord.gateway.online(home.bot.id))
        assert home.where == home.lounge.id
        assert len(home.engine.log.of(Connected)) == 1
        home.discord.leave(home.ada)
        await home.sits_in(None)


async def test_a_new_gateway_session_begins_the_call_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long outage Discord has forgotten where the bot is; the people who still sit there get their call back."""

    async def at_once(*_ids: object, **_flags: object) -> None:
        """Identify without the five seconds that py-cord waits."""

    monkeypatch.setattr(GatewayClient, "before_identify_hook", at_once)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        home.discord.gateway.forget_sessions()
        await home.discord.gateway.drop(home.bot.id, code=4000)
        await home.listens(2)
        await home.sits_in(home.lounge)


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ("not-the-token", LoginError("Discord refuses the bot token")),
        ("nöt-ä-token", LoginError("Discord refuses")),
        (None, ConfigError("no bot")),
    ],
)
async def test_a_wrong_token_is_one_sentence(home: Home, token: str | None, error: Exception) -> None:
    """Discord refuses it, or it could never be one: LoginError; none at all: ConfigError. Nothing is left open."""
    config = home.config(token=token) if token else home.config().model_copy(update={"discord": DiscordConfig()})
    with pytest.raises(type(error), match=str(error)):
        await run_to_its_end(home, config)


async def run_to_its_end(home: Home, config: Config) -> None:
    """The bot, until it ends by itself."""
    clock = SystemClock()
    async with open_store("sqlite://") as store:
        with SendThread(clock=clock, metrics=home.metrics) as send_thread:
            provider = PersonaPlexPool(config.personaplex, clock=clock)
            application = BotApplication(
                config=config, provider=provider, store=store, send_thread=send_thread, clock=clock, metrics=home.metrics
            )
            await timeouts.wait_for(application.run(), 10)


async def test_a_prefix_without_the_intent_is_one_sentence(home: Home) -> None:
    """Discord lets nobody read messages who was not granted that; what to switch on, or to leave out, is told."""
    home.discord.gateway.sessions.privileged_intents = False
    with pytest.raises(LoginError, match=r"bot\.prefix needs.*Message Content Intent"):
        await run_to_its_end(home, home.config(bot=BotConfig(prefix="!")))


async def test_a_server_s_minutes_outlive_the_process_and_a_new_invitation(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last minute of the day begins; the server removes the bot and invites it again, which does not start it over."""
    monkeypatch.setattr(pool, "INFO", replace(pool.INFO, costs_money=True))
    config = home.config().model_copy(update={"limits": LimitsConfig(minutes_per_day=30)})
    home.store_url = f"sqlite:///{tmp_path}/settings.db"
    guild_id, forgotten = int(home.guild.id), asyncio.Event()
    async with open_store(home.store_url) as store:
        await store.usage.add([HourOfUse(guild_id, int(time.time() // HOUR_S), 29 * 60)], since_hour=0)
    async with home.bot_running(config) as running:
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "This server has used 96 % of its 30 minutes a day.")
        running._parts.preferences.forgetting.add(lambda owner, _: forgotten.set() if owner.id == guild_id else None)
        home.discord.remove_member(home.bot, home.guild)
        await asyncio.wait_for(forgotten.wait(), 10)
    home.discord.world.add_member(home.guild.id, home.bot.id)
    async with home.bot_running(config):
        await home.says(home.lounge, "This server has used its 30 minutes a day")
        assert home.where is None


async def test_discord_may_come_later(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it cannot be reached the bot says so and keeps trying, and is there as soon as Discord is."""
    said, sentence_of = asyncio.Queue[str](), texts.calls.discord_unreachable

    def overheard(api_url: str, cause: str) -> str:
        said.put_nowait(sentence_of(api_url, cause))
        return sentence_of(api_url, cause)

    monkeypatch.setattr(texts.calls, "discord_unreachable", overheard)
    directory = home.discord.ca_file.parent
    async with LoopbackDiscord(dir=directory) as gone:
        port = gone.port
    async with AsyncExitStack() as later, home.bot_running(home.config(api_url=f"https://127.0.0.1:{port}/api/v10")):
        assert f"127.0.0.1:{port}" in await said.get()
        late = await later.enter_async_context(LoopbackDiscord(port, dir=directory))
        await late.wait_for(lambda: late.gateway.online(late.bots[0].id))


async def test_a_login_without_a_free_descriptor_is_tried_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be opened at this moment, which concerns no call of an hour later: it is like a Discord that is away."""
    refused: list[OSError] = []

    make = Login.make_client

    def refuse_once(login: Login, shard: Shard) -> GatewayClient:
        if not refused:
            refused.append(OSError(errno.EMFILE, "Too many open files"))
            raise refused[0]
        return make(login, shard)

    monkeypatch.setattr(Login, "make_client", refuse_once)
    monkeypatch.setattr(application, "FIRST_PAUSE_S", 0.05)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.sits_in(home.lounge)
    assert refused


NONSENSE = [b"<html>Just a moment...</html>", b"{}", b'{"id": ', b"[]", b"[" * 100_000]


@pytest.mark.parametrize("body", NONSENSE, ids=lambda body: body[:8].decode())
@pytest.mark.parametrize("door", ["/gateway/bot", "/users/@me", "/gateway"])
async def test_nonsense_in_discords_place_is_a_discord_that_is_away(
    home: Home, monkeypatch: pytest.MonkeyPatch, door: str, body: bytes
) -> None:
    """A proxy's page or half an answer, where the bot logs in: it tries again, and is there once Discord answers."""
    monkeypatch.setattr(application, "FIRST_PAUSE_S", 0.0)
    rest, spoiled = home.discord.rest, asyncio.Event()
    answer = rest._limited

    async def spoil(request: web.Request, route: Route, named: dict[str, str]) -> web.Response:
        if spoiled.is_set() or not request.path.endswith(door):
            return await answer(request, route, named)
        spoiled.set()
        return web.Response(body=body, content_type="text/html" if body.startswith(b"<") else "application/json")

    monkeypatch.setattr(rest, "_limited", spoil)
    with structlog.testing.capture_logs() as lines:
        async with home.bot_running():
            await home.discord.wait_for(lambda: home.discord.gateway.online(home.bot.id))
    assert spoiled.is_set()
    assert "the answer is not from Discord" in next(line["advice"] for line in lines if line["event"] == "discord unreachable")


async def invalid_json(connection: GatewayConnection, user: User) -> None:
    """READY, and then something that py-cord cannot read."""
    ready = dispatches.ready(connection._world, user, session_id="s", resume_url=connection._sessions.url, guilds=[], shard=None)
    await connection._send({"op": 0, "s": 1, "t": "READY", "d": ready})
    await connection._send('{"op": ')


async def refusal(connection: GatewayConnection, _user: User) -> None:
    """The session is invalid."""
    await connection._send({"op": 9, "s": None, "t": None, "d": False})


async def goodbye(connection: GatewayConnection, _user: User) -> None:
    """A close code after which a client may come back."""
    await connection.drop(4000)


@pytest.mark.parametrize(("end", "longest_wait_s"), [(invalid_json, 30.0), (refusal, 30.0), (refusal, 0.1), (goodbye, 30.0)])
async def test_sessions_that_fail_at_once_are_begun_less_and_less_often(
    home: Home, monkeypatch: pytest.MonkeyPatch, end: Callable[[GatewayConnection, User], Awaitable[None]], longest_wait_s: float
) -> None:
    """Whatever ends each of them, in the same login or not; once they last, the bot is there."""
    begun: list[float] = []

    class Noted(Pace):
        def begin(self, now: float) -> None:
            begun.append(now)
            super().begin(now)

    async def at_once(*_ids: object, **_flags: object) -> None:
        """Identify without the five seconds that py-cord waits."""

    identify = GatewayConnection._identify

    async def fail(connection: GatewayConnection, body: dict[str, Any]) -> None:
        await (identify(connection, body) if len(begun) > 4 else end(connection, home.bot))

    monkeypatch.setattr(discord.Client, "before_identify_hook", at_once)
    monkeypatch.setattr(application, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(shards, "pace_of_identifies", lambda _: Noted(first_s=0.05, longest_s=0.2, lasting_s=60.0))
    monkeypatch.setattr(client, "LONGEST_WAIT_S", longest_wait_s)
    monkeypatch.setattr(client, "pace_of_resumes", lambda: Pace(first_s=0.0, longest_s=0.0, lasting_s=60.0))
    monkeypatch.setattr(GatewayConnection, "_identify", fail)
    async with home.bot_running():
        await home.discord.wait_for(lambda: home.discord.gateway.online(home.bot.id))
    assert len(begun) == 5
    pauses = [later - sooner for sooner, later in itertools.pairwise(begun)]
    assert all(pause_s >= least_s for pause_s, least_s in zip(pauses, [0.05, 0.1, 0.2, 0.2], strict=True)), pauses


MISSHAPEN: list[tuple[str, Any]] = [
    ("GUILD_CREATE", {}),
    ("GUILD_CREATE", None),
    ("GUILD_UPDATE", {"id": "1"}),
    ("CHANNEL_UPDATE", {"id": "x", "type": 2, "guild_id": "y"}),
    ("VOICE_STATE_UPDATE", {"user_id": "5"}),
    ("VOICE_STATE_UPDATE", []),
    ("INTERACTION_CREATE", {"id": "1", "type": 2}),
    ("GUILD_DELETE", {}),
]


async def test_an_event_of_another_shape_costs_no_call(home: Home) -> None:
    """What Discord leaves out of an event, or writes otherwise, concerns that event alone: the call goes on, on the same connection."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        (session,) = [session for session in home.discord.gateway.sessions if session.login.user is home.bot]
        with structlog.testing.capture_logs() as lines:
            for name, payload in MISSHAPEN:
                session.add(name, payload)
            home.discord.enter(home.ada, home.study)
            await home.sits_in(home.study)
        assert len(home.engine.log.of(Connected)) == 1
        assert list(home.discord.gateway.sessions) == [session]
    assert {line["name"] for line in lines if "left out" in line["event"]} <= {name for name, _ in MISSHAPEN}


async def test_commands_are_registered_once_discord_answers_sensibly(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page in place of the list of commands: they are registered later."""
    monkeypatch.setattr(login, "COMMANDS_PAUSE_S", 0.0)
    rest, spoiled = home.discord.rest, asyncio.Event()
    answer = rest._limited

    async def spoil(request: web.Request, route: Route, named: dict[str, str]) -> web.Response:
        if spoiled.is_set() or not request.path.endswith("/commands"):
            return await answer(request, route, named)
        spoiled.set()
        return web.Response(body=NONSENSE[0], content_type="text/html")

    monkeypatch.setattr(rest, "_limited", spoil)
    async with home.bot_running():
        await home.commands_there()
    assert spoiled.is_set()
