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
from discordplex.loopback.discord.rest.rate_limits import WRITES, Limit
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import STAGE, TEXT, THREAD, VOICE, Fact, VoiceStateChanged
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import Connected, HandshakeSent
from discordplex.loopback.personaplex.mind import ModelOutput
from discordplex.loopback.personaplex.server import StandInServer
from tests.bot.street import REAL_WRITE_INTERVAL_S, Street

CLIP = Path(__file__).parents[2] / "discordplex" / "demo" / "hello.wav"


@pytest.fixture(scope="session")
def speech() -> bytes:
    """A second of spoken English."""
    return read_wav(CLIP)[: ENGINE.sample_bytes * ENGINE.rate_hz]


async def test_the_channel_shows_that_the_bot_listens(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status line follows what happens, and is empty again when the bot has left."""
    monkeypatch.setattr(voice_status, "INTERVAL_S", 0.1)
    async with street.bot_running():
        street.discord.enter(street.ada, street.lounge)
        await street.discord.wait_for(lambda: street.lounge.status == "listening")
        street.discord.enter(street.ben, street.discord.guilds[1].voice_channels[0])
        await street.discord.wait_for(lambda: street.lounge.status == "busy, 1 waiting")
        street.discord.leave(street.ben)
        await street.discord.wait_for(lambda: street.lounge.status == "listening")
        street.discord.leave(street.ada)
        await street.sits_in(None)
        assert street.lounge.status is None


@pytest.mark.parametrize("how", ["setting", "permission"])
async def test_the_status_line_may_be_left_alone(street: Street, how: str) -> None:
    """By the setting, or where the permission is missing: no request is made."""
    street.discord.deny(street.guild, street.lounge, street.bot, "set_voice_channel_status" if how == "permission" else "stream")
    async with street.bot_running(street.config(bot=BotConfig(voice_status=how != "setting"))):
        street.discord.enter(street.ada, street.lounge)
        await street.says(street.lounge, "Go ahead")
        street.discord.enter(street.ben, street.study)
        await street.says(street.study, "one channel of a server only")
    assert not any("voice-status" in path for _, path in street.discord.rest.calls)


async def test_only_some_channels_and_people_call_it(street: Street) -> None:
    """A channel that is denied and a person without the role are left alone in silence; /join says why."""
    role = street.discord.world.add_role(street.guild.id, "Talkers", 0)
    street.guild.members[street.ben.id].role_ids.append(role.id)
    setting = BotConfig(deny_channels=(street.study.id,), allow_roles=(role.id,))
    async with street.bot_running(street.config(bot=setting)):
        street.discord.enter(street.ada, street.lounge)
        assert (await street.press("join")).content == texts.waiting.NOT_YOU
        street.discord.enter(street.ben, street.study)
        answer = await street.press("join", person=street.ben)
        assert texts.waiting.NOT_HERE in answer.content
        assert street.where is None
        await street.discord.move(street.ben, street.lounge)
        await street.sits_in(street.lounge)
        await street.discord.move(street.ada, street.study)
        await street.discord.move(street.ben, street.study)
        await street.sits_in(None)
    assert street.texts(street.study) == []


@pytest.mark.parametrize("hear_bots", [False, True])
async def test_other_bots_are_not_heard(street: Street, speech: bytes, *, hear_bots: bool) -> None:
    """What another bot plays is dropped before it is decoded, from its first packet on, whether it came before us or after."""
    first, second = street.discord.bots[1:3]
    async with Person(street.discord, first, street.lounge.id) as early:
        street.discord.enter(street.ada, street.lounge)
        async with street.bot_running(street.config(bot=BotConfig(hear_bots=hear_bots))):
            await street.says(street.lounge, "Go ahead")
            await early.say(speech)
            async with Person(street.discord, second, street.lounge.id) as late:
                await late.say(speech)
                frames = street.metrics.counter("voice.rx.frames")
                ignored = street.metrics.counter("voice.rx.ignored")
                await street.engine.log.wait_for(lambda _: (frames if hear_bots else ignored).value >= 20)
    assert (frames.value > 0) == hear_bots
    assert (ignored.value > 0) == (not hear_bots)


async def test_captions_get_a_thread_for_each_call(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notices stay where people look, and say where the captions are; the next call has a thread of its own."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    async with street.bot_running(street.config(bot=BotConfig(captions="thread"))):
        for number in (1, 2):
            street.discord.enter(street.ada, street.lounge)
            await street.listens(number)
            await street.says(street.lounge, "Go ahead")
            thread = [each for each in street.guild.channels.values() if each.kind == THREAD][-1]
            await street.says(street.lounge, f"<#{thread.id}>")
            street.engine.inject(f"\x02 Number {number}.".encode())
            await street.says(thread, f"Number {number}.")
            assert thread.name.startswith("Lounge, ")
            street.discord.leave(street.ada)
            await street.sits_in(None)
    assert not any("Number" in text for text in street.texts(street.lounge))


async def test_without_the_right_to_open_threads_captions_stay_in_the_chat(street: Street) -> None:
    """Nothing is lost."""
    for channel in street.guild.channels.values():
        if channel.kind == TEXT:
            street.discord.deny(street.guild, channel, street.bot, "create_public_threads")
    async with street.bot_running(street.config(bot=BotConfig(captions="thread"))):
        street.discord.enter(street.ada, street.lounge)
        await street.listens()
        street.engine.inject(b"\x02 Here I am.")
        await street.says(street.lounge, "Here I am.")


@pytest.mark.parametrize("may", ["ask", "let itself"])
async def test_a_stage_is_asked_for(street: Street, may: str) -> None:
    """It does not come by itself. Called, it asks, says so, and opens no engine before a moderator lets it speak; or lets itself."""
    place = street.discord.world.add_channel(street.guild.id, "Stage", STAGE)
    street.discord.allow(street.guild, place, street.bot, "request_to_speak" if may == "ask" else "mute_members")
    async with street.bot_running():
        await street.commands_there()
        street.discord.enter(street.ada, place)
        answer = street.press("join", place=place)
        if may == "ask":
            joining = asyncio.create_task(answer)
            await street.says(place, texts.waiting.ASKED_TO_SPEAK)
            await street.sits_in(place)
            assert street.engine.log.of(Connected) == []
            street.discord.world.voice_stage(street.bot.id, street.guild.id, suppress=False, asks=False)
            await joining
        else:
            await answer
        await street.listens()
        await street.says(place, "Go ahead")
    assert (texts.waiting.ASKED_TO_SPEAK in street.texts(place)) == (may == "ask")


async def test_nobody_is_followed_onto_a_stage(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who enters a stage alone is not joined there, and keeps it from nobody; it comes to the voice channel that they enter next."""
    place = street.discord.world.add_channel(street.guild.id, "Stage", STAGE)
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    street.discord.allow(street.guild, place, street.bot, "request_to_speak")
    facts: list[Fact] = []
    street.discord.world.subscribe(facts.append)
    async with street.bot_running():
        street.discord.enter(street.ben, street.study)
        await street.says(street.study, "Go ahead")
        street.discord.leave(street.ben)
        await street.sits_in(None)
        street.discord.enter(street.ada, place)
        street.discord.enter(street.ben, street.study)
        await street.sits_in(street.study)
        street.discord.leave(street.ben)
        await street.sits_in(None)
        street.discord.enter(street.ada, street.lounge)
        await street.sits_in(street.lounge)
    moves = [fact.after.channel_id for fact in facts if isinstance(fact, VoiceStateChanged) and fact.after.user_id == street.bot.id]
    assert place.id not in moves


async def test_a_stage_that_does_not_want_it(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to ask it does not enter; where nobody answers it leaves."""
    monkeypatch.setattr(joining, "PATIENCE_S", 0.3)
    place = street.discord.world.add_channel(street.guild.id, "Stage", STAGE)
    async with street.bot_running():
        street.discord.enter(street.ada, place)
        assert texts.waiting.STAGE_CLOSED in (await street.press("join", place=place)).content
        street.discord.allow(street.guild, place, street.bot, "request_to_speak")
        assert texts.waiting.NOT_LET_SPEAK in (await street.press("join", place=place)).content
        await street.sits_in(None)
    assert street.engine.log.of(Connected) == []


async def test_a_call_moves_to_a_healthy_engine(street: Street) -> None:
    """The server dies in the middle of a call: same channel, same persona, another server, one sentence."""
    async with StandInServer(mode="echo") as other:
        engines = (street.engine, other)
        async with street.bot_running(street.config(urls=tuple(engine.url for engine in engines))):
            street.discord.enter(street.ada, street.lounge)
            await street.says(street.lounge, "Go ahead")
            held, free = engines if street.engine.log.of(HandshakeSent) else engines[::-1]
            await held.stop_listening()
            held.reset()
            await free.log.wait_for(lambda log: log.of(HandshakeSent))
            sentence = await street.says(street.lounge, "another engine")
        assert "broke off" in sentence
        assert not any(part in text for text in street.texts(street.lounge) for part in ("127.0.0.1", "ws://"))
        assert [record.voice for record in free.log.of(HandshakeSent)] == [record.voice for record in held.log.of(HandshakeSent)]
        assert len(street.texts(street.lounge)) == 2


async def test_a_stricken_call_goes_before_the_queue(street: Street) -> None:
    """Two calls on two servers, a third guild waits. One server dies: its call has the other server as soon as the other call ends."""
    world = street.discord.world
    third = world.add_guild("Annex", owner_id=street.ada.id)
    for user in (street.bot, *street.discord.people):
        world.add_member(third.id, user.id)
    annex = world.add_channel(third.id, "Attic", street.lounge.kind)
    hall = street.discord.guilds[1].voice_channels[0]
    cleo = street.discord.people[2]
    async with StandInServer(mode="echo") as other, street.bot_running(street.config(urls=(street.engine.url, other.url))):
        street.discord.enter(street.ada, street.lounge)
        await street.says(street.lounge, "Go ahead")
        street.discord.enter(street.ben, hall)
        await street.says(hall, "Go ahead")
        street.discord.enter(cleo, annex)
        await street.says(annex, "number 1 in the queue")
        await street.engine.stop_listening()
        street.engine.reset()
        await street.says(street.lounge, "keep trying")
        assert street.texts(annex) == [texts.waiting.waiting(1, None)]
        street.discord.leave(street.ben)
        await street.says(street.lounge, "another engine")
        assert street.texts(annex) == [texts.waiting.waiting(1, None)]
        street.discord.leave(street.ada)
        await street.says(annex, "Go ahead")
    assert len(other.log.of(HandshakeSent)) == 3


async def test_an_engine_that_is_down_is_not_given_while_one_is_busy(street: Street) -> None:
    """The second guild waits for the server that works, and is not put through to one that does not."""
    hall = street.discord.guilds[1].voice_channels[0]
    broken = StandInServer(mode="echo", faults=Faults(http_status=503))
    async with broken, street.bot_running(street.config(urls=(broken.url, street.engine.url))):
        street.discord.enter(street.ada, street.lounge)
        await street.says(street.lounge, "Go ahead")
        street.discord.enter(street.ben, hall)
        await street.says(hall, "number 1 in the queue")
        assert street.discord.world.voice_state(street.bot.id, hall.guild_id) is None


async def test_a_crash_left_the_bot_in_the_channel(street: Street) -> None:
    """Discord still shows it there, which is nobody's call: it enters anew where people sit, and does not count itself."""
    street.discord.enter(street.bot, street.lounge)
    street.discord.enter(street.ada, street.lounge)
    street.discord.limit_users(street.lounge, 2)
    async with street.bot_running():
        await street.says(street.lounge, "Go ahead")
        street.discord.leave(street.ada)
        await street.sits_in(None)


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
    limit = Limit(WRITES.calls, WRITES.per_s / SPEED)
    async with LoopbackDiscord(writes=limit) as discord, StandInServer(mind=Chatterbox) as engine:
        monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
        street = Street(discord, engine)
        async with street.bot_running(street.config(bot=BotConfig(voice_status=False))):
            discord.enter(street.ada, street.lounge)
            for status, after in ((429, "word40"), (500, "word120")):
                await street.says(street.lounge, after)
                discord.faults.status, discord.faults.times, discord.faults.only = status, 1, "/messages"
                await discord.wait_for(lambda: discord.faults.times == 0)
            await street.says(street.lounge, "word299", timeout_s=20)
    captions = [message for message in discord.messages(street.lounge) if "word" in message.content]
    assert " ".join(message.content for message in captions).split() == "".join(WORDS).split()
    assert len(captions) == 2
    writes = sorted(revision.at_s for message in discord.messages(street.lounge) for revision in message.revisions)
    assert min(later - sooner for sooner, later in itertools.pairwise(writes)) >= 1.0 / SPEED
    assert len(writes) >= 10


# Many guilds


async def test_fifty_guilds_within_a_second(street: Street) -> None:
    """Four engines: the first four talk, the other 46 are told their numbers in order, and the next are served in that order."""
    world, ada, bot = street.discord.world, street.ada, street.bot
    for number in range(48):
        guild = world.add_guild(f"Guild {number}", owner_id=ada.id)
        for user in (ada, bot):
            world.add_member(guild.id, user.id)
        world.add_channel(guild.id, "Room", VOICE)
    rooms = [guild.voice_channels[0] for guild in street.discord.guilds]
    async with AsyncExitStack() as exits:
        engines = [street.engine, *[await exits.enter_async_context(StandInServer(mode="echo")) for _ in range(3)]]
        async with street.bot_running(street.config(urls=tuple(engine.url for engine in engines), bot=BotConfig(auto_join=True))):
            await street.commands_there()
            for room in rooms:
                street.discord.enter(ada, room)
            for number, room in enumerate(rooms[4:], start=1):
                await street.says(room, f"number {number} in the queue")
            for room in rooms[:4]:
                await street.says(room, "Go ahead")
            for room in rooms[:2]:
                world.voice_leave(ada.id, room.guild_id)
            for room in rooms[4:6]:
                await street.says(room, "Go ahead")
            for number, room in enumerate(rooms[6:], start=1):
                await street.says(room, f"number {number} in the queue")
            talking = [room for room in rooms if world.voice_state(bot.id, room.guild_id)]
            assert talking == rooms[2:6]
        assert sum(len(engine.log.of(Connected)) for engine in engines) == 6


# Opt-outs from anywhere


async def test_a_wish_from_another_process_reaches_the_call(street: Street) -> None:
    """However the bot learns of it: nothing that waits of that person is written, kept or heard, and other people's words are."""
    async with street.bot_running() as application:
        street.discord.enter(street.ada, street.lounge)
        await street.says(street.lounge, "Go ahead")
        preferences = application._parts.preferences
        login: Login = cast("Any", preferences.changed).__self__
        call = login._switchboard.call(int(street.guild.id))
        assert call is not None
        ada, ben = int(street.ada.id), int(street.ben.id)
        for number, speaker in enumerate((ada, ben, ada)):
            login._notices.caption(call.room, (1, 900 + number), f"said by {speaker}", final=True, speaker=speaker)
        preferences._opted_out = preferences._opted_out | {ada}
        preferences.changed()
        await street.says(street.lounge, f"said by {ben}")
        assert not any(f"said by {ada}" in text for text in street.texts(street.lounge))
