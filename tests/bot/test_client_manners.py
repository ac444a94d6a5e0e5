"""How the whole bot behaves among people, on the loopback Discord: whom it comes for, whom it hears, what the channel shows, stages."""

import asyncio
import itertools
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from discordplex.audio.format import ENGINE
from discordplex.audio.wav import read_wav
from discordplex.bot import texts
from discordplex.bot.call import joining, voice_status
from discordplex.bot.chat import poster
from discordplex.bot.login import Login
from discordplex.config import BotConfig
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.rest.rate_limits import WRITES, BucketLimit
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world import payloads
from discordplex.loopback.discord.world.model import ANNOUNCEMENT, STAGE, TEXT, VOICE, Fact, VoiceStateChanged
from discordplex.loopback.discord.world.permissions import bit
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import Connected, HandshakeSent
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.loopback.personaplex.voice_model import ModelOutput
from tests.home import REAL_WRITE_INTERVAL_S, Home

CLIP = Path(__file__).parents[2] / "discordplex" / "demo" / "hello.wav"


@pytest.fixture(scope="session")
def speech() -> bytes:
    """A second of spoken English."""
    return read_wav(CLIP)[: ENGINE.sample_bytes * ENGINE.rate_hz]


async def test_the_channel_shows_that_the_bot_listens(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status line follows what happens, and is empty again when the bot has left."""
    monkeypatch.setattr(voice_status, "INTERVAL_S", 0.1)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.discord.wait_for(lambda: home.lounge.status == "listening")
        home.discord.enter(home.ben, home.discord.guilds[1].voice_channels[0])
        await home.discord.wait_for(lambda: home.lounge.status == "busy, 1 waiting")
        home.discord.leave(home.ben)
        await home.discord.wait_for(lambda: home.lounge.status == "listening")
        home.discord.leave(home.ada)
        await home.sits_in(None)
        assert home.lounge.status is None


@pytest.mark.parametrize("how", ["setting", "permission"])
async def test_the_status_line_may_be_left_alone(home: Home, how: str) -> None:
    """By the setting, or where the permission is missing: no request is made."""
    home.discord.deny(home.guild, home.lounge, home.bot, "set_voice_channel_status" if how == "permission" else "stream")
    async with home.bot_running(home.config(bot=BotConfig(voice_status=how != "setting"))):
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        home.discord.enter(home.ben, home.study)
        await home.says(home.study, "only one channel of a server")
    assert not any("voice-status" in path for _, path in home.discord.rest.calls)


async def test_only_some_channels_and_people_call_it(home: Home) -> None:
    """A channel that is denied and a person without the role are left alone in silence; /join says why."""
    role = home.discord.world.add_role(home.guild.id, "Talkers", 0)
    home.guild.members[home.ben.id].role_ids.append(role.id)
    setting = BotConfig(deny_channels=(home.study.id,), allow_roles=(role.id,))
    async with home.bot_running(home.config(bot=setting)):
        home.discord.enter(home.ada, home.lounge)
        assert (await home.press("join")).content == texts.waiting.NOT_YOU
        home.discord.enter(home.ben, home.study)
        answer = await home.press("join", person=home.ben)
        assert texts.waiting.NOT_HERE in answer.content
        assert home.where is None
        await home.discord.move(home.ben, home.lounge)
        await home.sits_in(home.lounge)
        await home.discord.move(home.ada, home.study)
        await home.discord.move(home.ben, home.study)
        await home.sits_in(None)
    assert home.texts(home.study) == []


@pytest.mark.parametrize("hear_bots", [False, True])
async def test_other_bots_are_not_heard(home: Home, speech: bytes, *, hear_bots: bool) -> None:
    """What another bot plays is dropped before it is decoded, from its first packet on, whether it came before us or after."""
    first, second = home.discord.bots[1:3]
    async with Person(home.discord, first, home.lounge.id) as early:
        home.discord.enter(home.ada, home.lounge)
        async with home.bot_running(home.config(bot=BotConfig(hear_bots=hear_bots))):
            await home.says(home.lounge, "Go ahead")
            await early.say(speech)
            async with Person(home.discord, second, home.lounge.id) as late:
                await late.say(speech)
                frames = home.metrics.counter("voice.rx.frames")
                ignored = home.metrics.counter("voice.rx.ignored")
                await home.engine.log.wait_for(lambda _: (frames if hear_bots else ignored).value >= 20)
    assert (frames.value > 0) == hear_bots
    assert (ignored.value > 0) == (not hear_bots)


async def test_a_call_ends_when_the_role_that_let_the_bot_in_is_deleted(home: Home) -> None:
    """Discord tells of the role alone."""
    world, member = home.discord.world, home.guild.members[home.bot.id]
    role = world.add_role(home.guild.id, "Guests", 0)
    member.role_ids.append(role.id)
    home.discord.deny(home.guild, home.lounge, home.guild, "connect")
    home.discord.allow(home.guild, home.lounge, role, "connect")
    home.discord.allow(home.guild, home.lounge, home.ada, "connect")
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        member.role_ids.remove(role.id)
        home.tell("GUILD_ROLE_DELETE", {"guild_id": home.guild.id, "role_id": role.id})
        await home.sits_in(None)


@pytest.mark.parametrize("how", ["made it", "moved there"])
async def test_no_call_goes_on_in_the_afk_channel(home: Home, how: str) -> None:
    """Nobody can talk there: it is told so, whether the call's channel becomes it or a moderator drags the bot into it."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        afk = home.lounge if how == "made it" else home.study
        home.discord.enter(home.ben, home.study)
        home.tell("GUILD_UPDATE", payloads.guild(home.guild) | {"afk_channel_id": afk.id})
        if how == "moved there":
            await home.discord.move(home.bot, home.study)
        await home.says(afk, texts.calls.left_because(int(afk.id), texts.calls.AFK))
        await home.sits_in(None if how == "moved there" else home.study)


async def test_who_left_during_an_outage_of_the_guild_is_not_waited_for(home: Home) -> None:
    """Discord says only, once the guild is there again, who sits in it by then."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        guild = home.guild_event()
        home.tell("GUILD_DELETE", {"id": home.guild.id, "unavailable": True})
        states = [state for state in guild["voice_states"] if state["user_id"] == home.bot.id]
        home.tell("GUILD_CREATE", guild | {"voice_states": states})
        await home.sits_in(None)
        await home.says(home.lounge, "The call has ended")


async def test_after_an_outage_of_the_guild_the_channel_is_looked_at_as_it_is_now(home: Home) -> None:
    """What is denied afterwards counts too."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        home.tell("GUILD_DELETE", {"id": home.guild.id, "unavailable": True})
        home.tell("GUILD_CREATE", home.guild_event())
        await home.press("status")
        home.discord.deny(home.guild, home.lounge, home.bot, "connect")
        await home.sits_in(None)


@pytest.mark.parametrize("right", ["view_channel", "connect"])
@pytest.mark.parametrize("what", ["channel", "role", "member"])
async def test_a_call_ends_when_its_channel_is_closed_to_the_bot(home: Home, what: str, right: str) -> None:
    """An admin takes the right away while the call runs: in the channel, from a role, or the role from the bot. It says why it left."""
    world, guild_id, everyone = home.discord.world, home.guild.id, home.guild.roles[home.guild.id]
    bots = world.add_role(guild_id, "bots", bit(right))
    world.give_roles(guild_id, home.bot.id, [bots.id])
    if what != "channel":
        everyone.permissions &= ~bit(right)
        home.discord.allow(home.guild, home.lounge, home.ada, right)
        home.discord.allow(home.guild, home.guild.text_channel, home.bot, right)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        if what == "channel":
            home.discord.deny(home.guild, home.lounge, home.bot, right)
        elif what == "role":
            world.set_role(guild_id, bots.id, 0)
        else:
            world.give_roles(guild_id, home.bot.id, [])
        await home.sits_in(None)
        why = texts.calls.left_because(int(home.lounge.id), texts.calls.MISSING_PERMISSION[right])
        channels = list(home.guild.channels.values())
        await home.discord.wait_for(lambda: any(why in home.texts(channel) for channel in channels))
        assert not any("I cannot join" in text for channel in channels for text in home.texts(channel))


@pytest.mark.parametrize("parent", [TEXT, ANNOUNCEMENT])
async def test_captions_get_a_thread_for_each_call(home: Home, monkeypatch: pytest.MonkeyPatch, parent: int) -> None:
    """Notices stay where people look, and say where the captions are; the next call has a thread of its own."""
    home.guild.text_channel.kind = parent
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    async with home.bot_running(home.config(bot=BotConfig(captions="thread"))):
        for number in (1, 2):
            home.discord.enter(home.ada, home.lounge)
            await home.listens(number)
            await home.says(home.lounge, "Go ahead")
            thread = [each for each in home.guild.channels.values() if each.is_thread][-1]
            await home.says(home.lounge, f"<#{thread.id}>")
            home.engine.inject(f"\x02 Number {number}.".encode())
            await home.says(thread, f"Number {number}.")
            assert thread.name.startswith("Lounge, ")
            home.discord.leave(home.ada)
            await home.sits_in(None)
    assert not any("Number" in text for text in home.texts(home.lounge))


async def test_without_the_right_to_open_threads_captions_stay_in_the_chat(home: Home) -> None:
    """Nothing is lost."""
    for channel in home.guild.channels.values():
        if channel.kind == TEXT:
            home.discord.deny(home.guild, channel, home.bot, "create_public_threads")
    async with home.bot_running(home.config(bot=BotConfig(captions="thread"))):
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        home.engine.inject(b"\x02 Here I am.")
        await home.says(home.lounge, "Here I am.")


async def test_a_speaker_who_is_sent_into_the_audience_says_so_and_leaves_in_the_end(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A moderator does that: it asks, although it could let itself speak, and nobody lets it."""
    place = home.discord.world.add_channel(home.guild.id, "Stage", STAGE)
    home.discord.allow(home.guild, place, home.bot, "mute_members")
    home.discord.allow(home.guild, place, home.bot, "request_to_speak")
    async with home.bot_running():
        await home.commands_there()
        home.discord.enter(home.ada, place)
        await home.press("join", place=place)
        await home.says(place, "Go ahead")
        monkeypatch.setattr(joining, "PATIENCE_S", 0.3)
        home.discord.world.voice_stage(home.bot.id, home.guild.id, suppress=True)
        await home.says(place, texts.waiting.ASKED_TO_SPEAK)
        await home.says(place, texts.waiting.NOT_LET_SPEAK)
        await home.sits_in(None)


@pytest.mark.parametrize("may", ["ask", "let itself"])
async def test_a_stage_is_asked_for(home: Home, may: str) -> None:
    """It does not come by itself. Called, it asks, says so, and opens no engine before a moderator lets it speak; or lets itself."""
    place = home.discord.world.add_channel(home.guild.id, "Stage", STAGE)
    home.discord.allow(home.guild, place, home.bot, "request_to_speak" if may == "ask" else "mute_members")
    async with home.bot_running():
        await home.commands_there()
        home.discord.enter(home.ada, place)
        answer = home.press("join", place=place)
        if may == "ask":
            joining = asyncio.create_task(answer)
            await home.says(place, texts.waiting.ASKED_TO_SPEAK)
            await home.sits_in(place)
            assert home.engine.log.of(Connected) == []
            home.discord.world.voice_stage(home.bot.id, home.guild.id, suppress=False, asks=False)
            await joining
        else:
            await answer
        await home.listens()
        await home.says(place, "Go ahead")
    assert (texts.waiting.ASKED_TO_SPEAK in home.texts(place)) == (may == "ask")


async def test_nobody_is_followed_onto_a_stage(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who enters a stage alone is not joined there, and keeps it from nobody; it comes to the voice channel that they enter next."""
    place = home.discord.world.add_channel(home.guild.id, "Stage", STAGE)
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    home.discord.allow(home.guild, place, home.bot, "request_to_speak")
    facts: list[Fact] = []
    home.discord.world.subscribe(facts.append)
    async with home.bot_running():
        home.discord.enter(home.ben, home.study)
        await home.says(home.study, "Go ahead")
        home.discord.leave(home.ben)
        await home.sits_in(None)
        home.discord.enter(home.ada, place)
        home.discord.enter(home.ben, home.study)
        await home.sits_in(home.study)
        home.discord.leave(home.ben)
        await home.sits_in(None)
        home.discord.enter(home.ada, home.lounge)
        await home.sits_in(home.lounge)
    moves = [fact.after.channel_id for fact in facts if isinstance(fact, VoiceStateChanged) and fact.after.user_id == home.bot.id]
    assert place.id not in moves


async def test_a_stage_that_does_not_want_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to ask it does not enter; where nobody answers it leaves."""
    monkeypatch.setattr(joining, "PATIENCE_S", 0.3)
    place = home.discord.world.add_channel(home.guild.id, "Stage", STAGE)
    async with home.bot_running():
        home.discord.enter(home.ada, place)
        assert texts.waiting.STAGE_CLOSED in (await home.press("join", place=place)).content
        home.discord.allow(home.guild, place, home.bot, "request_to_speak")
        assert texts.waiting.NOT_LET_SPEAK in (await home.press("join", place=place)).content
        await home.sits_in(None)
    assert home.engine.log.of(Connected) == []


async def test_a_call_moves_to_a_healthy_engine(home: Home) -> None:
    """The server dies in the middle of a call: same channel, same persona, another server, one sentence."""
    async with StandInServer(mode="echo") as other:
        engines = (home.engine, other)
        async with home.bot_running(home.config(urls=tuple(engine.url for engine in engines))):
            home.discord.enter(home.ada, home.lounge)
            await home.says(home.lounge, "Go ahead")
            held, free = engines if home.engine.log.of(HandshakeSent) else engines[::-1]
            await held.stop_listening()
            held.reset()
            await free.log.wait_for(lambda log: log.of(HandshakeSent))
            sentence = await home.says(home.lounge, "another engine")
        assert "was lost" in sentence
        assert not any(part in text for text in home.texts(home.lounge) for part in ("127.0.0.1", "ws://"))
        assert [record.voice for record in free.log.of(HandshakeSent)] == [record.voice for record in held.log.of(HandshakeSent)]
        assert len(home.texts(home.lounge)) == 2


async def test_a_stricken_call_goes_before_the_queue(home: Home) -> None:
    """Two calls on two servers, a third guild waits. One server dies: its call has the other server as soon as the other call ends."""
    world = home.discord.world
    third = world.add_guild("Annex", owner_id=home.ada.id)
    for user in (home.bot, *home.discord.people):
        world.add_member(third.id, user.id)
    annex = world.add_channel(third.id, "Attic", home.lounge.kind)
    hall = home.discord.guilds[1].voice_channels[0]
    cleo = home.discord.people[2]
    async with StandInServer(mode="echo") as other, home.bot_running(home.config(urls=(home.engine.url, other.url))):
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        home.discord.enter(home.ben, hall)
        await home.says(hall, "Go ahead")
        home.discord.enter(cleo, annex)
        await home.says(annex, "number 1 in the queue")
        await home.engine.stop_listening()
        home.engine.reset()
        await home.says(home.lounge, "keep trying")
        assert home.texts(annex) == [texts.waiting.waiting(1, None)]
        home.discord.leave(home.ben)
        await home.says(home.lounge, "another engine")
        assert home.texts(annex) == [texts.waiting.waiting(1, None)]
        home.discord.leave(home.ada)
        await home.says(annex, "Go ahead")
    assert len(other.log.of(HandshakeSent)) == 3


async def test_an_engine_that_is_down_is_not_given_while_one_is_busy(home: Home) -> None:
    """The second guild waits for the server that works, and is not put through to one that does not."""
    hall = home.discord.guilds[1].voice_channels[0]
    broken = StandInServer(mode="echo", faults=Faults(http_status=503))
    async with broken, home.bot_running(home.config(urls=(broken.url, home.engine.url))):
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        home.discord.enter(home.ben, hall)
        await home.says(hall, "number 1 in the queue")
        assert home.discord.world.voice_state(home.bot.id, hall.guild_id) is None


async def test_a_crash_left_the_bot_in_the_channel(home: Home) -> None:
    """Discord still shows it there, which is nobody's call: it enters anew where people sit, and does not count itself."""
    home.discord.enter(home.bot, home.lounge)
    home.discord.enter(home.ada, home.lounge)
    home.discord.limit_users(home.lounge, 2)
    async with home.bot_running():
        await home.says(home.lounge, "Go ahead")
        home.discord.leave(home.ada)
        await home.sits_in(None)


# What is written


SPEED = 10 / 3
"""These run so many times as fast as life: 20 s of speech in 6, five writes in 1.5 s instead of 5."""

PIECES_PER_STEP = 4
WORDS = tuple(f" word{number}" for number in range(300))


class Chatterbox:
    """A model that says its words evenly, and after them nothing."""

    def __init__(self) -> None:
        self._words = iter(WORDS)

    def step(self, heard: bytes) -> ModelOutput:
        return ModelOutput(heard, tuple(itertools.islice(self._words, PIECES_PER_STEP)))


async def test_a_stream_of_text_keeps_to_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 pieces in 20 s: the whole text, never two writes within a second, no 429 but the injected one; it and a 500 lose nothing."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S / SPEED)
    limit = BucketLimit(WRITES.calls, WRITES.per_s / SPEED)
    async with LoopbackDiscord(writes=limit) as discord, StandInServer(model=Chatterbox) as engine:
        monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
        home = Home(discord, (engine,))
        async with home.bot_running(home.config(bot=BotConfig(voice_status=False))):
            discord.enter(home.ada, home.lounge)
            for status, after in ((429, "word40"), (500, "word120")):
                await home.says(home.lounge, after)
                discord.faults.status, discord.faults.times, discord.faults.only = status, 1, "/messages"
                await discord.wait_for(lambda: discord.faults.times == 0)
            await home.says(home.lounge, "word299", timeout_s=20)
    captions = [message for message in discord.messages(home.lounge) if "word" in message.content]
    assert " ".join(message.content for message in captions).split() == "".join(WORDS).split()
    assert len(captions) == 2
    writes = sorted(revision.at_s for message in discord.messages(home.lounge) for revision in message.revisions)
    assert min(later - sooner for sooner, later in itertools.pairwise(writes)) >= 1.0 / SPEED
    assert len(writes) >= 10


# Many guilds


async def test_fifty_guilds_within_a_second(home: Home) -> None:
    """Four engines: the first four talk, the other 46 are told their numbers in order, and the next are served in that order."""
    world, ada, bot = home.discord.world, home.ada, home.bot
    for number in range(48):
        guild = world.add_guild(f"Guild {number}", owner_id=ada.id)
        for user in (ada, bot):
            world.add_member(guild.id, user.id)
        world.add_channel(guild.id, "Room", VOICE)
    voice_channels = [guild.voice_channels[0] for guild in home.discord.guilds]
    async with AsyncExitStack() as exits:
        engines = [home.engine, *[await exits.enter_async_context(StandInServer(mode="echo")) for _ in range(3)]]
        async with home.bot_running(home.config(urls=tuple(engine.url for engine in engines), bot=BotConfig(auto_join=True))):
            await home.commands_there()
            for voice_channel in voice_channels:
                home.discord.enter(ada, voice_channel)
            for number, voice_channel in enumerate(voice_channels[4:], start=1):
                await home.says(voice_channel, f"number {number} in the queue")
            for voice_channel in voice_channels[:4]:
                await home.says(voice_channel, "Go ahead")
            for voice_channel in voice_channels[:2]:
                world.voice_leave(ada.id, voice_channel.guild_id)
            for voice_channel in voice_channels[4:6]:
                await home.says(voice_channel, "Go ahead")
            for number, voice_channel in enumerate(voice_channels[6:], start=1):
                await home.says(voice_channel, f"number {number} in the queue")
            talking = [voice_channel for voice_channel in voice_channels if world.voice_state(bot.id, voice_channel.guild_id)]
            assert talking == voice_channels[2:6]
        assert sum(len(engine.log.of(Connected)) for engine in engines) == 6


# Opt-outs from anywhere


async def test_a_wish_from_another_process_reaches_the_call(home: Home) -> None:
    """However the bot learns of it: nothing that waits of that person is written, kept or heard, and other people's words are."""
    async with home.bot_running() as application:
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        preferences = application._parts.preferences
        login: Login = cast("Any", preferences.changed).__self__
        call = login._dispatcher.call(int(home.guild.id))
        assert call is not None
        ada, ben = int(home.ada.id), int(home.ben.id)
        for number, speaker in enumerate((ada, ben, ada)):
            login._notices.caption(call.voice_channel, (1, 900 + number), f"said by {speaker}", final=True, speaker=speaker)
        preferences._opted_out = preferences._opted_out | {ada}
        preferences.changed()
        await home.says(home.lounge, f"said by {ben}")
        assert not any(f"said by {ada}" in text for text in home.texts(home.lounge))
