"""An evening in a community: two guilds, four people, three engines of which one is dead, as Discord itself shows it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from discordplex.bot import guild_rules, texts
from discordplex.bot.call import voice_status
from discordplex.bot.chat import poster
from discordplex.bot.commands.privacy import DONT_LISTEN_ID
from discordplex.bot.scheduling import periodic, running
from discordplex.config import BotConfig, Config
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.rest.rate_limits import WRITES, BucketLimit
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import Channel, ChatMessage, User
from discordplex.loopback.personaplex.log import Connected, ConversationClosed, HandshakeSent
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.personaplex import pool
from tests.end_to_end.test_troubles import free_port
from tests.home import REAL_WRITE_INTERVAL_S, Home

MINUTE_S = 1.0
"""An evening in which a minute lasts a second."""

SPEED = 5
"""And in which so many times as much may be written."""


@dataclass
class Evening:
    """Who and what is there, by name."""

    home: Home
    alpha: StandInServer
    beta: StandInServer
    config: Config

    def __post_init__(self) -> None:
        self.discord = self.home.discord
        self.ada, self.ben, self.cleo, self.dev = self.discord.people
        lighthouse, workshop = self.discord.guilds
        self.lounge, self.study = lighthouse.voice_channels
        self.hall = workshop.voice_channels[0]

    async def bot_in(self, channel: Channel | None, *, of: Channel) -> None:
        """The bot's voice state in the guild of a channel."""
        wanted = channel.id if channel else None

        def there() -> bool:
            state = self.discord.world.voice_state(self.home.bot.id, of.guild_id)
            return (state.channel_id if state else None) == wanted

        await self.discord.wait_for(there)

    async def says(self, channel: Channel, words: str) -> str:
        """A message of the bot in a channel's chat."""
        return await self.home.says(channel, words, timeout_s=20)

    def greeting(self, channel: Channel) -> ChatMessage:
        """The newest greeting there, with its buttons."""
        mine = [message for message in self.discord.messages(channel) if message.author_id == self.home.bot.id]
        return [message for message in mine if "Go ahead" in message.content][-1]

    async def queue(self, person: User, channel: Channel) -> str:
        """What /queue answers."""
        return (await self.home.press("queue", person=person, place=channel)).content

    def decoded(self) -> int:
        """Frames of people that were decoded so far."""
        return self.home.metrics.counter("voice.rx.frames").value


@asynccontextmanager
async def evening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Evening]:
    """Everything but the bot."""
    monkeypatch.setattr(guild_rules, "MINUTE_S", MINUTE_S)
    monkeypatch.setattr(periodic, "MINUTE_S", MINUTE_S)
    monkeypatch.setattr(running, "GRACE_S", 0.3)
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S / SPEED)
    monkeypatch.setattr(voice_status, "INTERVAL_S", 0.2)
    monkeypatch.setattr(pool, "FIRST_PAUSE_S", pool.LONGEST_PAUSE_S)
    dead = f"ws://127.0.0.1:{await free_port()}/api/chat"
    async with AsyncExitStack() as exits:
        discord = await exits.enter_async_context(LoopbackDiscord(writes=BucketLimit(WRITES.calls, WRITES.per_s / SPEED)))
        alpha, beta = [await exits.enter_async_context(StandInServer(mode="echo")) for _ in range(2)]
        monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
        home = Home(discord, (alpha,), store_url=f"sqlite:///{tmp_path}/evening.db")
        config = home.config(urls=(dead, alpha.url, beta.url), bot=BotConfig(max_minutes=6))
        yield Evening(home, alpha, beta, config)


async def test_an_evening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech: bytes) -> None:
    """Calls, hand-over, queue, time box, idleness, opt-out, follow, restart and rejoin play through, and nothing is left over."""
    async with evening(tmp_path, monkeypatch) as e, AsyncExitStack() as people:
        async with e.home.bot_running(e.config):
            await e.home.commands_there()
            ada = await people.enter_async_context(Person(e.discord, e.ada, e.lounge.id))
            await begins_on_a_dead_engine(e, ada, speech)
            await loses_its_engine(e)
            await waits_for_the_time_box(e)
            await is_left_for_idleness(e)
            cleo = await people.enter_async_context(Person(e.discord, e.cleo, e.study.id))
            await does_not_want_to_be_heard(e, cleo, speech)
            await follows_everybody(e)
            e.discord.enter(e.ben, e.hall)
            await e.says(e.hall, "number 1 in the queue")
        await comes_back(e, ada, cleo, speech)
    assert len(e.alpha.log.of(Connected)) == len(e.alpha.log.of(HandshakeSent)), "nobody was kept waiting on the line"
    await e.alpha.log.wait_for(lambda log: len(log.of(ConversationClosed)) == len(log.of(Connected)))
    assert e.discord.world.users_in(e.lounge.id) == e.discord.world.users_in(e.hall.id) == []


async def begins_on_a_dead_engine(e: Evening, ada: Person, speech: bytes) -> None:
    """Ada enters the lounge; the engine that she gets is dead, and the call goes on at alpha. Ben has a call in the other guild."""
    await e.bot_in(e.lounge, of=e.lounge)
    assert "No PersonaPlex server answers" in await e.says(e.lounge, "What happened before")
    await e.says(e.lounge, "Go ahead")
    await e.discord.wait_for(lambda: e.lounge.status == "listening")
    await ada.say(speech[:96_000])
    await ada.wait_for_audio(e.home.bot.id, 0.3)
    e.discord.enter(e.ben, e.hall)
    await e.says(e.hall, "Go ahead")
    await e.bot_in(e.hall, of=e.hall)
    assert [len(engine.log.of(HandshakeSent)) for engine in (e.alpha, e.beta)] == [1, 1]


async def loses_its_engine(e: Evening) -> None:
    """Beta dies for good, and Ben's call with it: no other engine is free. He gives up."""
    await e.beta.stop_listening()
    e.beta.reset()
    await e.says(e.hall, "I keep trying")
    e.discord.leave(e.ben)
    await e.bot_in(None, of=e.hall)


async def waits_for_the_time_box(e: Evening) -> None:
    """Dev in the hall and Cleo in the study wait; Ada's time is up, and they are served in the order in which they came."""
    e.discord.enter(e.dev, e.hall)
    told = await e.says(e.hall, "number 1 in the queue")
    assert "at most" in told
    e.discord.enter(e.cleo, e.study)
    await e.says(e.study, f"I am talking in <#{e.lounge.id}>")
    await e.discord.wait_for(lambda: e.lounge.status == "busy, 2 waiting")
    assert "number 1 in the queue" in await e.queue(e.dev, e.hall)
    assert "number 2 in the queue" in await e.queue(e.cleo, e.study)
    await e.says(e.lounge, "This conversation ends in")
    await e.says(e.lounge, texts.waiting.TIME_IS_UP)
    await e.bot_in(e.hall, of=e.hall)
    await e.says(e.hall, "Go ahead")
    await e.says(e.study, "number 1 in the queue")
    await e.says(e.lounge, "number 2 in the queue")
    await e.bot_in(None, of=e.lounge)


async def is_left_for_idleness(e: Evening) -> None:
    """Ben, whose guild it is, lets the bot leave whoever is silent. Dev is; the engine goes to Cleo."""
    pressed = await e.home.press("settings limits", {"idle": 1}, person=e.ben, place=e.hall)
    assert pressed.content
    await e.says(e.hall, "Nobody has said anything for a while (a minute)")
    await e.bot_in(None, of=e.hall)
    await e.bot_in(e.study, of=e.study)
    e.discord.leave(e.cleo)  # and comes back at once, with a microphone


async def does_not_want_to_be_heard(e: Evening, cleo: Person, speech: bytes) -> None:
    """Cleo presses the button: from then on nothing of hers is decoded."""
    await e.says(e.study, "Go ahead")
    await cleo.say(speech[:48_000])
    await cleo.wait_for_audio(e.home.bot.id, 0.1)
    pressed = await e.discord.press_button(e.greeting(e.study), DONT_LISTEN_ID, e.cleo)
    assert pressed.content == texts.privacy.NOT_HEARD
    before = e.decoded()
    await cleo.say(speech[:48_000])
    assert e.decoded() == before


async def follows_everybody(e: Evening) -> None:
    """Cleo goes over to Ada in the lounge, and the bot with her, in the same conversation."""
    conversations = len(e.alpha.log.of(HandshakeSent))
    await e.discord.move(e.cleo, e.lounge)
    await e.bot_in(e.lounge, of=e.lounge)
    assert texts.waiting.NOT_IN_QUEUE in await e.queue(e.ada, e.lounge)
    assert len(e.alpha.log.of(HandshakeSent)) == conversations


async def comes_back(e: Evening, ada: Person, cleo: Person, speech: bytes) -> None:
    """A new process, without the engines that are gone: the call is where it was, before those who waited; it still does not hear Cleo."""
    conversations = len(e.alpha.log.of(HandshakeSent))
    async with e.home.bot_running(e.home.config(urls=(e.alpha.url,))):
        await e.alpha.log.wait_for(lambda log: len(log.of(HandshakeSent)) > conversations)
        await e.bot_in(e.lounge, of=e.lounge)
        await e.discord.wait_for(lambda: "number 1 in the queue" in e.home.texts(e.hall)[-1])
        before, ignored = e.decoded(), e.home.metrics.counter("voice.rx.ignored").value
        await cleo.say(speech[:48_000])
        assert e.decoded() == before
        assert e.home.metrics.counter("voice.rx.ignored").value > ignored
        await ada.say(speech[:48_000])
        await ada.wait_for_audio(e.home.bot.id, 0.1)
        await cleo.leave()
        await ada.leave()
        await e.bot_in(e.hall, of=e.hall)
        for person in (e.ben, e.dev):
            e.discord.leave(person)
        await e.bot_in(None, of=e.hall)
        await e.bot_in(None, of=e.lounge)
        assert e.lounge.status is None
