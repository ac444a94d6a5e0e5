"""Which channel is written to, and what has been said there already."""

import asyncio
import itertools

from discordplex.bot.chat.notices import MOST_PLACES, MOST_POSTERS, MOST_TOLD, Notices
from discordplex.bot.place import Place
from discordplex.loopback.clock import FakeClock, settle
from discordplex.metrics import Metrics
from tests.bot.fakes import FakeChannel, ScriptedVoiceChannel


async def test_a_notice_is_said_once_until_it_is_forgotten(clock: FakeClock, channel: FakeChannel) -> None:
    """The same words are not repeated to people who have read them; new people are new readers."""
    notices = Notices(clock=clock, metrics=Metrics())
    voice_channel = ScriptedVoiceChannel(Place(1, 11), channel)
    for _ in range(3):
        notices.say_once(voice_channel, "It is broken.")
    notices.say_once(voice_channel, "It is broken otherwise.")
    notices.forget(voice_channel.place)
    notices.say_once(voice_channel, "It is broken.")
    await clock.advance(10)
    assert channel.texts == ["It is broken.", "It is broken otherwise.", "It is broken."]
    await notices.close()


async def test_rooms_that_share_a_channel_share_its_writer(clock: FakeClock, channel: FakeChannel) -> None:
    """Two voice channels with captions in one text channel stay below one write a second together."""
    notices = Notices(clock=clock, metrics=Metrics())
    for number in range(4):
        notices.caption(ScriptedVoiceChannel(Place(1, number), channel), number, f"Hello {number}", final=True)
    await clock.advance(10)
    times = [at for at, _ in channel.writes]
    assert len(times) == 4
    assert all(later - sooner >= 1 for sooner, later in itertools.pairwise(times))
    await notices.close()


async def test_where_nothing_may_be_written_nothing_is(clock: FakeClock, channel: FakeChannel) -> None:
    """Captions that are off, or a channel without the permission to write: nobody writes, here or elsewhere, until that changes."""
    notices = Notices(clock=clock, metrics=Metrics())
    voice_channel = ScriptedVoiceChannel(Place(1, 11), None, chat=channel)
    notices.say(voice_channel, "Hello")
    notices.caption(voice_channel, 1, "Hello", final=True)
    await notices.flush()
    await clock.advance(5)
    assert channel.writes == []
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("poster:")]
    voice_channel.captions_channel = channel
    notices.say(voice_channel, "Now")
    await clock.advance(5)
    assert channel.texts == ["Now"]
    await notices.close()


async def test_a_flood_of_places_is_bounded(clock: FakeClock) -> None:
    """Thousands of channels and sentences leave a bounded memory; a writer with something to write is never forgotten."""
    notices = Notices(clock=clock, metrics=Metrics())
    channels = [FakeChannel(clock, id=number) for number in range(1, 2 * MOST_POSTERS)]
    for channel in channels:
        notices.say_once(ScriptedVoiceChannel(Place(channel.id, channel.id), channel), "Once.")
        await settle(5)
    assert len(notices._posters) > MOST_POSTERS, "none is forgotten within the second of its write"
    for number in range(2 * MOST_PLACES):
        notices.say_once(ScriptedVoiceChannel(Place(number, number), None), "x")
    voice_channel = ScriptedVoiceChannel(Place(9, 9), None)
    for number in range(2 * MOST_TOLD):
        notices.say_once(voice_channel, f"{number}")
    assert len(notices._told) <= MOST_PLACES
    assert max(len(told) for told in notices._told.values()) <= MOST_TOLD
    await clock.advance(3)
    notices.say(ScriptedVoiceChannel(Place(5, 5), FakeChannel(clock, id=99_999)), "One more.")
    assert len(notices._posters) <= MOST_POSTERS
    assert all(channel.texts == ["Once."] for channel in channels)
    await notices.close()
