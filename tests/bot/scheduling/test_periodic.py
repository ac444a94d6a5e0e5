"""Time boxes, idle channels, the status line: what is looked at again and again while calls run."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from discordplex.bot import texts
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.scheduling.periodic import ROUND_S
from discordplex.bot.scheduling.time_limit import NOTICE_S
from discordplex.bot.texts.waiting import Estimate
from discordplex.loopback.clock import FakeClock
from tests.bot.fakes import PAID, CountedEngines
from tests.bot.town import A1, A2, ANNA, B1, BERT, C1, CARA, Town

WRITTEN_S = 2.5
BOX = GuildRules(max_minutes=3)


def rounds() -> list[str]:
    """The rounds that are still to come."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "bot:round"]


@pytest.fixture
async def town(clock: FakeClock) -> AsyncIterator[Town]:
    town = Town(clock, CountedEngines(1), rules=BOX)
    yield town
    await town.close()


async def test_a_call_makes_way_for_others_and_waits_for_its_next_turn(town: Town, clock: FakeClock) -> None:
    """It is told a minute before, ends, and goes to the end of the queue; then it is the other's turn to make way."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, B1)
    await clock.advance(180 - NOTICE_S - 2)
    assert town.said(A1) == []
    await clock.advance(4 + ROUND_S)
    assert town.said(A1) == [texts.waiting.time_is_short(NOTICE_S)]
    assert town.live == [A1]
    await clock.advance(NOTICE_S + WRITTEN_S)
    assert town.live == [B1]
    assert town.said(A1)[1:] == [texts.waiting.TIME_IS_UP, texts.waiting.waiting(1, Estimate(180, at_most=True))]
    await clock.advance(180 + WRITTEN_S)
    assert town.live == [A1]


async def test_a_call_may_return_to_a_better_engine_while_nobody_waits(town: Town, clock: FakeClock) -> None:
    """Every second; whoever waits goes before."""
    town.move(ANNA, None, A1)
    await clock.advance(3 * ROUND_S + 0.1)
    assert town.calls[0].returns == 3
    town.move(BERT, None, B1)
    await clock.advance(3 * ROUND_S)
    assert town.calls[0].returns == 3


async def test_a_call_goes_on_when_nobody_waits_any_more(town: Town, clock: FakeClock) -> None:
    """They are told so, and talk for as long as they like."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, B1)
    await clock.advance(180 - NOTICE_S + WRITTEN_S)
    town.move(BERT, B1, None)
    await clock.advance(200)
    assert town.live == [A1]
    assert town.said(A1) == [texts.waiting.time_is_short(NOTICE_S), texts.waiting.GOES_ON]


async def test_the_guilds_own_other_channel_gets_its_turn_too(clock: FakeClock) -> None:
    """With an engine to spare the bot itself is what is waited for."""
    town = Town(clock, CountedEngines(2), rules=BOX)
    town.move(ANNA, None, A1)
    town.move(BERT, None, A2)
    await clock.advance(180 + WRITTEN_S)
    assert town.live == [A2]
    await clock.advance(180 + WRITTEN_S)
    assert town.live == [A1]
    await town.close()


async def test_nobody_makes_way_while_an_engine_is_free(town: Town, clock: FakeClock) -> None:
    """One has just come back; the queue will find it at its next look."""
    town.move(ANNA, None, A1)
    await clock.advance(300.5)
    town.move(BERT, None, B1)
    town.engines.capacity = 2
    await clock.advance(WRITTEN_S)
    assert town.live == [A1, B1]
    assert town.said(A1) == []


async def test_without_auto_join_they_ask_again_themselves(town: Town, clock: FakeClock) -> None:
    """Who called the bot with /join is not put into the queue unasked."""
    town.common_rules = GuildRules(max_minutes=3, auto_join=False)
    for place, person in ((A1, ANNA), (B1, BERT)):
        town.voice_channels[place].people = frozenset({person})
        await town.board.join(place, person)
    await clock.advance(180 + WRITTEN_S)
    assert town.live == [B1]
    assert town.board.status(A1.guild_id).own_places == []


async def test_nobody_has_spoken_for_long(town: Town, clock: FakeClock) -> None:
    """The call ends with a sentence, does not come back by itself, and does when somebody enters."""
    town.common_rules = GuildRules(idle_minutes=5)
    town.move(ANNA, None, A1)
    await clock.advance(10)
    town.calls[0].quiet_s = 299.0
    await clock.advance(2)
    assert town.live == [A1]
    town.calls[0].quiet_s = 300.0
    await clock.advance(100)
    assert town.live == []
    assert town.said(A1) == [texts.waiting.idle(5)]
    town.move(BERT, None, A1)
    assert town.live == [A1]


async def test_zero_minutes_is_never(town: Town, clock: FakeClock) -> None:
    """People may sit in silence for as long as they like."""
    town.common_rules = GuildRules()
    town.move(ANNA, None, A1)
    await clock.advance(10)
    town.calls[0].quiet_s = 1e9
    await clock.advance(100)
    assert town.live == [A1]


async def test_silence_that_costs_money_ends(town: Town, clock: FakeClock) -> None:
    """After the minutes of `limits.idle_minutes`, although nobody waits; a call that costs nothing goes on."""
    town.common_rules = GuildRules()
    town.engines.capacity = 2
    town.move(ANNA, None, A1)
    town.engines.info = PAID
    town.move(BERT, None, B1)
    await clock.advance(10)
    for call in town.calls:
        call.quiet_s = 300.0
    await clock.advance(WRITTEN_S)
    assert town.live == [A1]
    assert town.said(B1) == [texts.waiting.idle(5)]


async def test_a_process_that_stood_still_counts_no_minutes_and_decides_nothing(clock: FakeClock) -> None:
    """Nobody has talked meanwhile, and its calls may be another process's: the next round goes on."""
    town = Town(clock, CountedEngines(1), rules=replace(BOX, minutes_per_day=30))
    town.engines.info = PAID
    town.move(ANNA, None, A1)
    town.move(BERT, None, B1)
    await clock.advance(10)
    used_s = town.usage.used_s(A1.guild_id)
    assert used_s > 0
    said = town.said(A1)
    await clock.jump(200.0)
    assert town.usage.used_s(A1.guild_id) == used_s
    assert town.said(A1) == said
    await clock.advance(2 * ROUND_S + WRITTEN_S)
    assert used_s < town.usage.used_s(A1.guild_id) <= used_s + 2 * ROUND_S + WRITTEN_S
    assert town.said(A1) == [*said, texts.waiting.time_is_short(NOTICE_S)]
    await town.close()


async def test_the_status_line_tells_how_things_are(town: Town, clock: FakeClock) -> None:
    """Listening, paused, busy with how many waiting; one call's line does not depend on another's."""
    town.move(ANNA, None, A1)
    await clock.advance(WRITTEN_S)
    await town.calls[0].pause("Anna")
    await clock.advance(WRITTEN_S)
    await town.calls[0].resume("Anna")
    town.move(BERT, None, B1)
    await clock.advance(WRITTEN_S)
    assert town.calls[0].statuses == ["listening", "paused", "busy, 1 waiting"]


async def test_nothing_goes_round_without_calls(town: Town, clock: FakeClock) -> None:
    """The rounds end with the last call and begin with the next one."""
    town.move(ANNA, None, A1)
    await clock.advance(WRITTEN_S)
    assert len(rounds()) == 1
    await town.end()
    town.move(ANNA, A1, None)
    await clock.advance(WRITTEN_S)
    assert rounds() == []
    town.move(ANNA, None, A1)
    await clock.advance(WRITTEN_S)
    assert town.calls[1].statuses == ["listening"]


@pytest.mark.parametrize("who", ["another guild", "the own guild's other channel", "nobody"])
async def test_an_idle_call_makes_way(clock: FakeClock, who: str) -> None:
    """While others wait five minutes of silence end it, told once; while nobody does it stays for as long as people sit there."""
    town = Town(clock, CountedEngines(1 if who == "another guild" else 2))
    town.move(ANNA, None, A1)
    await clock.advance(1)
    if who != "nobody":
        town.move(BERT, None, B1 if who == "another guild" else A2)
    town.calls[0].quiet_s = 299.0
    await clock.advance(2 * ROUND_S)
    assert town.live == [A1]
    town.calls[0].quiet_s = 300.0
    await clock.advance(2 * ROUND_S + WRITTEN_S)
    assert town.live == {"another guild": [B1], "nobody": [A1]}.get(who, [A2])
    assert town.said(A1).count(texts.waiting.idle(5)) == (who != "nobody")
    await town.close()


async def test_no_more_calls_make_way_than_are_wanted(clock: FakeClock) -> None:
    """Of two that are idle the quieter one ends for the one who waits; the other goes on."""
    town = Town(clock, CountedEngines(2))
    town.move(ANNA, None, A1)
    town.move(BERT, None, B1)
    await clock.advance(1)
    town.move(CARA, None, C1)
    town.calls[0].quiet_s, town.calls[1].quiet_s = 400.0, 500.0
    town.calls[1].close_gate.clear()
    await clock.advance(5 * ROUND_S)
    town.calls[1].close_gate.set()
    await clock.advance(5 * ROUND_S)
    assert town.live == [A1, C1]
    await town.close()


def test_the_shorter_limit_holds() -> None:
    """A call that may be idle for two minutes anyway does not get five because others wait; and 0 is never."""
    assert GuildRules(idle_minutes=2).idle_limit_minutes(others_wait=True) == 2
    assert GuildRules(idle_minutes=9).idle_limit_minutes(others_wait=True) == 5
    assert GuildRules(busy_idle_minutes=0).idle_limit_minutes(others_wait=True) == 0
    assert GuildRules(idle_minutes=9).idle_limit_minutes(others_wait=False) == 9
    assert GuildRules().idle_limit_minutes(others_wait=False, costs_money=True) == 5
    assert GuildRules(idle_minutes=2).idle_limit_minutes(others_wait=False, costs_money=True) == 2
    assert GuildRules(busy_idle_minutes=3).idle_limit_minutes(others_wait=True, costs_money=True) == 3
    assert GuildRules(paid_idle_minutes=0).idle_limit_minutes(others_wait=False, costs_money=True) == 0


async def test_who_sends_the_bot_away_as_time_runs_out_does_not_wait_again(town: Town, clock: FakeClock) -> None:
    """The call is being torn down already, and its people would be queued: the newest wish holds."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, B1)
    await clock.advance(180 - 1)
    town.calls[0].close_gate.clear()
    await clock.advance(2)
    leaving = asyncio.create_task(town.board.leave(A1.guild_id, "Anna", {A1.channel_id}))
    await clock.advance(0)
    town.calls[0].close_gate.set()
    assert await leaving == texts.calls.LEFT
    await clock.advance(WRITTEN_S)
    assert town.live == [B1]
    assert town.board.waiting(A1.guild_id) == frozenset()
