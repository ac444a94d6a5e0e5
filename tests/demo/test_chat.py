"""The chat of the demo: when the bot listens, what was a caption, what a notice."""

import asyncio

import pytest

from discordplex.bot import texts
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.demo.chat import ANYBODY, ChatLog
from discordplex.demo.live import NoDisplay
from discordplex.demo.recording import Span
from discordplex.demo.timeline import TimelineEntry
from discordplex.errors import DiscordplexError
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import Channel, User


class Shown(NoDisplay):
    """Remembers what it was told to show."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.lines: dict[str, TimelineEntry] = {}

    def step(self, sentence: str) -> None:
        self.steps.append(sentence)

    def line(self, key: str, line: TimelineEntry) -> None:
        self.lines[key] = line


class Room:
    """A channel of a Discord that is not open, with its chat log."""

    def __init__(self, *, words_known: bool = False) -> None:
        self.clock = FakeClock(100.0)
        self.discord = LoopbackDiscord(clock=self.clock)
        self.channel: Channel = self.discord.guilds[0].voice_channels[0]
        self.bot: User = self.discord.bots[0]
        self.person: User = self.discord.people[0]
        self.shown = Shown()
        self.log = ChatLog(self.discord, self.channel, self.bot, self.person, self.shown, words_known=words_known)
        self.log.origin_s = 100.0
        self.discord.world.subscribe(self.log.hear)

    def greeting(self, *, ready: bool) -> str:
        make = texts.calls.listening if ready else texts.calls.hello
        return make(texts.calls.Introduction(int(self.channel.id), ANYBODY, RecordingPolicy(engine="parrot", transcribes=False)))


@pytest.fixture
def room() -> Room:
    return Room()


async def test_the_bot_listens_when_it_says_so(room: Room) -> None:
    """Not with its greeting, but once that says that one may speak."""
    waiting = asyncio.ensure_future(room.log.listening(5.0))
    message = room.discord.write(room.bot, room.channel, room.greeting(ready=False))
    await asyncio.sleep(0)
    assert not waiting.done()
    room.discord.world.chat.edit(message, {"content": room.greeting(ready=True)})
    await waiting
    assert room.shown.lines[f"{message.id} 0"].role == "notice"
    assert "#Lounge" in room.shown.lines[f"{message.id} 0"].text


async def test_each_thing_that_a_greeting_says_has_the_time_when_it_was_first_said(room: Room) -> None:
    """In the view as in the report: an edit that only adds the privacy code does not move it. A caption has the time of its first word."""
    greeting = room.discord.write(room.bot, room.channel, room.greeting(ready=True))
    caption = room.discord.write(room.bot, room.channel, "I heard")
    await room.clock.advance(1.0)
    room.discord.world.chat.edit(greeting, {"content": f"With a code. {room.greeting(ready=True)}"})
    assert [(line.role, line.at_s) for line in room.shown.lines.values()] == [("notice", 0.0), ("bot", 0.0)]
    await room.clock.advance(8.0)
    room.discord.world.chat.edit(caption, {"content": "I heard you."})
    room.discord.world.chat.edit(greeting, {"content": texts.calls.ended(9.0)})
    assert [(line.role, line.at_s) for line in room.shown.lines.values()] == [("notice", 9.0), ("bot", 0.0)]
    told = [(line.at_s, line.text.partition(" ")[0]) for line in room.log.lines([Span(0.0, 1.0)])]
    assert told == [(0.0, "With"), (9.0, "The"), (0.0, "I")]


async def test_what_was_transcribed_has_the_time_when_it_was_said(room: Room) -> None:
    """The bot tells it in the order of its captions; several in one message, too, and where it does not know, the message's time counts."""
    room.discord.write(room.bot, room.channel, room.greeting(ready=True))
    await room.clock.advance(5.0)
    for began_s_ago in (4.5, 2.0, None):
        room.log.said(began_s_ago)
    room.discord.write(room.bot, room.channel, "Ada: Hello there.")
    await room.clock.advance(1.0)
    room.discord.write(room.bot, room.channel, "I heard you.\nAda: How are you?\nAda: Goodbye.")
    expected = [("person", 0.5, "Hello there."), ("bot", 6.0, "I heard you."), ("person", 3.0, "How are you?"), ("person", 6.0, "Goodbye.")]
    assert [(line.role, line.at_s, line.text) for line in room.shown.lines.values()][1:] == expected
    assert [(line.role, line.at_s, line.text) for line in room.log.lines([Span(6.0, 7.0)])][1:] == expected


@pytest.mark.parametrize(("words_known", "shown"), [(True, []), (False, ["Good day."])])
async def test_what_the_engine_understood_is_shown_unless_the_words_are_known(*, words_known: bool, shown: list[str]) -> None:
    """Otherwise each sentence would stand there twice: as it was said, and as it was understood."""
    room = Room(words_known=words_known)
    room.discord.write(room.bot, room.channel, "**Ada:** Good day.")
    assert [line.text for line in room.shown.lines.values()] == shown
    assert [line.text for line in room.log.lines([])] == shown


async def test_a_complaint_of_the_bot_is_the_reason(room: Room) -> None:
    """What the bot says instead of listening is told, without markdown."""
    room.discord.write(room.bot, room.channel, texts.calls.engine_lost("*Nobody* answers."))
    with pytest.raises(DiscordplexError, match=r"It says: \*Nobody\* answers\. I keep trying\.$"):
        await room.log.listening(5.0)


async def test_a_bot_that_says_nothing_is_not_waited_for_for_ever(room: Room) -> None:
    """After the time that was given, a sentence says so."""
    with pytest.raises(DiscordplexError, match=r"^The bot did not begin to listen within 0 s\.$"):
        await room.log.listening(0.0)


async def test_comings_and_goings_are_shown(room: Room) -> None:
    """Who enters and who leaves, but not who mutes."""
    room.discord.enter(room.person, room.channel)
    room.discord.world.voice_mute(room.person.id, room.discord.guilds[0].id, mute=True)
    await room.clock.advance(2.0)
    room.discord.leave(room.person)
    assert room.shown.steps == ["Ada enters Lounge.", "Ada leaves."]
    assert [(line.at_s, line.text) for line in room.log.lines([])] == [(0.0, "Ada enters Lounge"), (2.0, "Ada leaves")]


async def test_captions_stand_where_the_speech_began(room: Room) -> None:
    """A message beside the bot's speech is a caption, anything else a notice; a second one of the same speech keeps its own time."""
    room.discord.write(room.bot, room.channel, room.greeting(ready=True))
    await room.clock.advance(5.0)
    room.discord.write(room.bot, room.channel, "I heard \\*you\\*.")
    await room.clock.advance(0.5)
    room.discord.write(room.bot, room.channel, "And more.")
    room.discord.write(room.person, room.channel, "what a person writes is not in it")
    await room.clock.advance(20.0)
    room.discord.write(room.bot, room.channel, "The engine is here again.")
    lines = list(room.log.lines([Span(4.2, 6.0)]))
    assert [(line.role, line.at_s) for line in lines] == [("notice", 0.0), ("bot", 4.2), ("bot", 5.5), ("notice", 25.5)]
    assert lines[1].text == "I heard *you*."
