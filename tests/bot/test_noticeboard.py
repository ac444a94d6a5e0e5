"""Which channel is written to, and what has been said there already."""

import itertools

from discordplex.bot.noticeboard import Noticeboard
from discordplex.bot.sessions import Place
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from tests.bot.fakes import FakeChannel, ScriptedRoom


async def test_a_notice_is_said_once_until_it_is_forgotten(clock: FakeClock, channel: FakeChannel) -> None:
    """The same words are not repeated to people who have read them; new people are new readers."""
    notices = Noticeboard(clock=clock, metrics=Metrics())
    room = ScriptedRoom(Place(1, 11), channel)
    for _ in range(3):
        notices.say_once(room, "It is broken.")
    notices.say_once(room, "It is broken otherwise.")
    notices.forget(room.place)
    notices.say_once(room, "It is broken.")
    await clock.advance(10)
    assert channel.texts == ["It is broken.", "It is broken otherwise.", "It is broken."]
    await notices.close()


async def test_rooms_that_share_a_channel_share_its_writer(clock: FakeClock, channel: FakeChannel) -> None:
    """Two voice channels with captions in one text channel stay below one write a second together."""
    notices = Noticeboard(clock=clock, metrics=Metrics())
    for number in range(4):
        notices.caption(ScriptedRoom(Place(1, number), channel), number, f"Hello {number}", final=True)
    await clock.advance(10)
    times = [at for at, _ in channel.writes]
    assert len(times) == 4
    assert all(later - sooner >= 1 for sooner, later in itertools.pairwise(times))
    await notices.close()


async def test_where_nothing_may_be_written_nothing_is(clock: FakeClock) -> None:
    """Captions that are off, or a channel without the permission to write, cost nothing and raise nothing."""
    notices = Noticeboard(clock=clock, metrics=Metrics())
    room = ScriptedRoom(Place(1, 11), None)
    notices.say(room, "Hello")
    notices.say_once(room, "Hello")
    notices.caption(room, 1, "Hello", final=True)
    await notices.flush()
    await notices.close()
