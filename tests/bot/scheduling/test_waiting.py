"""The queue as people meet it: told, corrected, served, left, and remembered over a restart."""

import pytest

from discordplex.bot import texts
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.place import Place
from discordplex.bot.scheduling.dispatcher import RESTORE_S
from discordplex.bot.scheduling.move_limits import ALL
from discordplex.bot.scheduling.running import GRACE_S
from discordplex.bot.texts.waiting import Estimate
from discordplex.loopback.clock import FakeClock, settle
from tests.bot.fakes import CountedEngines, Notebook
from tests.bot.town import A1, A2, ANNA, B1, BERT, C1, CARA, Town

WRITTEN_S = 1.2
"""By then a poster that had nothing else to do has written twice."""


async def test_one_message_follows_the_place(town: Town, clock: FakeClock) -> None:
    """Each waits with a message that is corrected when the number changes, and ends with their turn."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, B1)
    town.move(CARA, None, C1)
    await clock.advance(WRITTEN_S)
    assert town.said(C1) == [texts.waiting.waiting(2, None)]
    town.move(BERT, B1, None)
    await clock.advance(WRITTEN_S)
    assert town.said(C1) == [texts.waiting.waiting(1, None)]
    await town.end()
    await clock.advance(WRITTEN_S)
    assert town.live == [C1]
    assert town.said(C1) == [texts.waiting.YOUR_TURN]


async def test_who_comes_back_into_the_queue_gets_a_new_message(town: Town, clock: FakeClock) -> None:
    """Nobody reads an old one further up."""
    town.move(ANNA, None, A1)
    for _ in range(2):
        town.move(BERT, None, B1)
        await clock.advance(WRITTEN_S)
        town.move(BERT, B1, None)
        await clock.advance(WRITTEN_S)
    assert town.said(B1) == [texts.waiting.waiting(1, None)] * 2


@pytest.mark.parametrize(
    ("place", "sentence"), [(B1, texts.waiting.waiting(1, None)), (A2, texts.calls.elsewhere(A1.channel_id))], ids=["queue", "elsewhere"]
)
async def test_who_goes_in_and_out_fills_no_chat(town: Town, clock: FakeClock, place: Place, sentence: str) -> None:
    """In three minutes three messages, and one a minute after that, whether the engine is busy or the bot elsewhere; and they do know."""
    town.move(ANNA, None, A1)
    for _ in range(60):
        town.move(BERT, None, place)
        await clock.advance(1.5)
        town.move(BERT, place, None)
        await clock.advance(1.5)
    assert 1 <= len(town.said(place)) <= 6
    assert set(town.said(place)) == {sentence}


async def test_the_estimate_comes_from_recent_calls(town: Town, clock: FakeClock) -> None:
    """Three calls of 120 s, one that is 30 s old: 90 s to wait. One in which nobody was heard says nothing."""
    for seconds, listened_s in ((120.0, 110.0), (1.0, 0.0), (120.0, 110.0), (120.0, 110.0)):
        town.move(ANNA, None, A1)
        await clock.advance(seconds)
        await town.end(listened_s)
        town.move(ANNA, A1, None)
    town.move(ANNA, None, A1)
    await clock.advance(30)
    town.move(BERT, None, B1)
    await clock.advance(WRITTEN_S)
    assert town.said(B1) == [texts.waiting.waiting(1, Estimate(90, at_most=False))]
    await clock.advance(40)
    town.move(CARA, None, C1)
    town.move(CARA, C1, None)
    await clock.advance(WRITTEN_S)
    assert town.said(B1) == [texts.waiting.waiting(1, Estimate(90, at_most=False))], "nothing is rewritten while the place stays the same"
    assert town.board.queue_lines(B1.guild_id) == [texts.waiting.in_queue(B1.channel_id, 1, Estimate(48, at_most=False))]
    assert town.board.queue_lines(A1.guild_id) == []


async def test_join_says_the_same_as_the_channel(town: Town) -> None:
    """The place and what to expect."""
    town.common_rules = GuildRules(max_minutes=10)
    town.move(ANNA, None, A1)
    town.voice_channels[B1].people = frozenset({BERT})
    assert await town.board.join(B1, BERT) == texts.waiting.waiting(1, Estimate(600, at_most=True))


async def test_a_guild_that_comes_new_goes_before_a_second_channel(clock: FakeClock) -> None:
    """Those whom it moves back read their new number; what everybody reads is the order in which they are served."""
    d1 = Place(4, 41)
    town = Town(clock, CountedEngines(1), places=(A1, B1, Place(2, 22), C1, d1))
    for person, place in ((ANNA, A1), (BERT, B1), (CARA, Place(2, 22)), (400, C1)):
        town.move(person, None, place)
    await clock.advance(WRITTEN_S)
    assert town.said(Place(2, 22)) == [texts.waiting.waiting(3, None)]
    town.move(500, None, d1)
    await clock.advance(WRITTEN_S)
    assert [town.said(place)[-1] for place in (B1, C1, d1, Place(2, 22))] == [texts.waiting.waiting(number, None) for number in range(1, 5)]
    for place in (B1, C1, d1, Place(2, 22)):
        await town.end()
        assert town.live == [place]
        for person in (ANNA, BERT, 400, 500):
            town.voice_channels[place].people -= {person}
    await town.close()


async def test_what_was_told_is_forgotten_with_the_place(town: Town, clock: FakeClock) -> None:
    """Who is struck from the queue because they sit there no more leaves nothing behind."""
    town.move(ANNA, None, A1)
    for _ in range(50):
        town.move(BERT, None, B1)
        await clock.advance(0.1)
        town.voice_channels[B1].people = frozenset()
        town.board._waiting.serve()
    assert len(town.board._waiting._told) <= 1


async def test_they_may_leave_the_queue(town: Town, clock: FakeClock) -> None:
    """A call stays; whoever stood behind moves up; who left is not served though they sit there."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, B1)
    town.move(CARA, None, C1)
    await clock.advance(WRITTEN_S)
    assert town.board.leave_queue(B1.guild_id, {B1.channel_id}) == texts.waiting.LEFT_THE_QUEUE
    assert town.board.leave_queue(B1.guild_id, {B1.channel_id}) == texts.waiting.NOT_IN_QUEUE
    assert town.board.leave_queue(A1.guild_id, {A1.channel_id}) == texts.waiting.NOT_IN_QUEUE
    await clock.advance(WRITTEN_S)
    assert town.said(C1) == [texts.waiting.waiting(1, None)]
    assert town.live == [A1]
    await town.end()
    assert town.live == [C1]
    await town.end()
    assert town.live == []


async def test_a_call_that_lost_its_engine_goes_before_the_queue(clock: FakeClock) -> None:
    """It had asked earlier: the engine that becomes free is offered to it first."""
    town = Town(clock, CountedEngines(2))
    for person, place in ((ANNA, A1), (BERT, B1), (CARA, C1)):
        town.move(person, None, place)
    await settle()
    town.calls[1].stricken = True
    await town.end()
    assert not town.calls[1].stricken
    await town.close()


@pytest.mark.parametrize("engine", ["given to others", "gone"])
async def test_who_waited_for_a_call_to_end_and_gets_none_is_told(town: Town, clock: FakeClock, engine: str) -> None:
    """Their guild's call has ended, and its engine went to somebody who had asked before, or is there no more."""
    town.move(ANNA, None, A1)
    if engine == "given to others":
        town.move(BERT, None, B1)
    town.calls[0].close_gate.clear()
    town.move(ANNA, A1, None)
    await clock.advance(GRACE_S + 0.1)
    town.move(ANNA, None, A2)
    await clock.advance(WRITTEN_S)
    assert town.said(A2) == ([texts.waiting.waiting(2, None)] if engine == "given to others" else [])
    town.engines.capacity = 0 if engine == "gone" else 1
    town.calls[0].close_gate.set()
    await clock.advance(WRITTEN_S)
    assert town.live == ([B1] if engine == "given to others" else [])
    assert town.said(A2) == [texts.waiting.waiting(1, None)]


@pytest.mark.parametrize("who", ["nobody welcome", "welcome"])
async def test_the_bot_comes_for_whom_it_may(town: Town, clock: FakeClock, who: str) -> None:
    """People whose roles do not let them call are no reason to come, neither by entering nor by /join nor from the queue."""
    town.move(CARA, None, C1)
    town.voice_channels[A1].unwelcome = frozenset({ANNA})
    town.move(ANNA, None, A1)
    assert await town.board.join(A1, ANNA) == texts.waiting.NOT_YOU
    if who == "welcome":
        town.move(BERT, None, A1)
        assert "number 1" in await town.board.join(A1, BERT)
    await town.end()
    assert town.live == ([A1] if who == "welcome" else [])
    await clock.advance(WRITTEN_S)
    assert bool(town.said(A1)) == (who == "welcome")


async def test_nobody_is_left_who_may_call_it(town: Town, clock: FakeClock) -> None:
    """Who asked has gone, and who stays there may not call: their turn passes."""
    town.move(CARA, None, C1)
    town.voice_channels[A1].unwelcome = frozenset({ANNA})
    town.enter([ANNA, BERT], A1)
    await settle()
    town.move(BERT, A1, None)
    await town.end()
    await clock.advance(WRITTEN_S)
    assert town.live == []


async def test_nobody_can_tell_when_the_own_guilds_call_ends(clock: FakeClock) -> None:
    """The estimate is about engines; this one may be free all the time."""
    town = Town(clock, CountedEngines(1), rules=GuildRules(max_minutes=10))
    town.move(ANNA, None, A1)
    town.move(BERT, None, A2)
    assert town.board.queue_lines(A1.guild_id) == [texts.waiting.in_queue(A2.channel_id, 1, None)]
    await town.close()


async def test_fifty_guilds_ask_at_once_for_four_engines(clock: FakeClock) -> None:
    """Order is kept, nobody is lost, nobody served twice, every one told; and told anew as they move up."""
    places = [Place(guild, guild * 100) for guild in range(1, 51)]
    town = Town(clock, CountedEngines(4), places=places)
    for place in places:
        town.move(ANNA, None, place)
    assert len(town.live) == 4
    await clock.advance(WRITTEN_S)
    assert [town.said(place) for place in places[:4]] == [[]] * 4
    assert [town.said(place) for place in places[4:]] == [[texts.waiting.waiting(number, None)] for number in range(1, 47)]
    for _ in range(10):
        await town.end()
    await clock.advance(WRITTEN_S)
    assert [town.said(place) for place in places[14:]] == [[texts.waiting.waiting(number, None)] for number in range(1, 37)]
    while town.live:
        assert len(town.live) <= 4
        await town.end()
        await clock.advance(2 * ALL.interval_s)
    assert [call.voice_channel.place for call in town.calls] == places
    assert town.board.status(1).queue_length == 0
    await town.close()


# Over a restart


async def test_the_order_of_before_a_restart_is_kept(clock: FakeClock) -> None:
    """Calls and those who waited stand on record in the order in which they asked, and are served in it, whoever is seen first."""
    memory = Notebook()
    before = Town(clock, CountedEngines(2), memory=memory)
    for person, place in ((ANNA, A1), (BERT, B1), (CARA, C1)):
        before.move(person, None, place)
    await settle()
    await before.close()
    assert list(memory.entries.items()) == [(A1, ANNA), (B1, BERT), (C1, CARA)]
    after = Town(clock, CountedEngines(2), memory=memory)
    after.board.restore(await memory.load())
    after.move(CARA, None, C1)
    after.move(BERT, None, B1)
    await settle()
    assert after.live == []
    after.move(ANNA, None, A1)
    after.board.finish_restore()
    await clock.advance(WRITTEN_S)
    assert after.live == [A1, B1]
    assert [call.asker for call in after.calls] == [ANNA, BERT]
    assert after.said(C1) == [texts.waiting.waiting(1, None)]
    await after.close()


async def test_who_has_gone_meanwhile_is_forgotten(clock: FakeClock) -> None:
    """They hold no place that others wait behind, and leave the record."""
    memory = Notebook((B1, BERT), (C1, None), (A1, ANNA))
    town = Town(clock, CountedEngines(1), memory=memory)
    town.board.restore(await memory.load())
    town.voice_channels[C1].people = frozenset({CARA})
    town.voice_channels[B1].people = frozenset({BERT})
    town.board.finish_restore()
    town.board.finish_restore()
    await clock.advance(WRITTEN_S)
    assert town.live == [B1]
    assert town.said(C1) == [texts.waiting.waiting(1, None)]
    assert set(memory.entries) == {B1, C1}
    await town.close()


async def test_a_discord_that_never_says_ready_holds_nobody_up(clock: FakeClock) -> None:
    """After some seconds those who sit there are served; without anything remembered nobody waits at all."""
    town = Town(clock, CountedEngines(1))
    town.board.restore([(A1, ANNA)])
    town.move(BERT, None, B1)
    await clock.advance(RESTORE_S - 0.1)
    assert town.live == []
    await clock.advance(0.2)
    assert town.live == [B1]
    await town.close()


async def test_the_record_follows_the_calls(clock: FakeClock) -> None:
    """Who leaves, is served out or moves leaves it, or changes it; in the end nothing is left."""
    memory = Notebook()
    town = Town(clock, CountedEngines(1), memory=memory)
    town.move(ANNA, None, A1)
    town.move(BERT, None, B1)
    await settle()
    town.move(ANNA, A1, A2)
    town.board.bot_moved(A2.guild_id, A2.channel_id)
    await settle()
    assert list(memory.entries) == [A2, B1]
    town.move(ANNA, A2, None)
    await clock.advance(GRACE_S + 0.1)
    assert list(memory.entries) == [B1]
    assert town.live == [B1]
    town.move(BERT, B1, None)
    await clock.advance(GRACE_S + 0.1)
    assert memory.entries == {}
    await town.close()
