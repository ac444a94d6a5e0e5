"""A guild's minutes of a day, where the engine costs money."""

from collections.abc import AsyncIterator

import pytest

from discordplex.bot import texts
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.scheduling.usage import HOUR_S, HOURS, Usage
from discordplex.bot.scheduling.usage_store import UsageMemory
from discordplex.engine_choice import EngineChoice, EngineOption
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from discordplex.store.store import open_store
from tests.bot.fakes import PAID, CountedEngines
from tests.bot.town import A1, A2, ANNA, B1, BERT, C1, CARA, PERSONA, Town

WRITTEN_S = 2.5
MINUTE_S = 60.0
TEN = GuildRules(minutes_per_day=10)


def paid(capacity: int) -> CountedEngines:
    engines = CountedEngines(capacity)
    engines.info = PAID
    return engines


@pytest.fixture
async def town(clock: FakeClock) -> AsyncIterator[Town]:
    town = Town(clock, paid(2), rules=TEN)
    yield town
    await town.close()


def used_up(clock: FakeClock) -> str:
    """What is said when all was used in this hour."""
    return texts.waiting.minutes_used_up(10, (clock.now() // HOUR_S + HOURS) * HOUR_S)


async def test_the_minutes_of_a_day(town: Town, clock: FakeClock) -> None:
    """A notice at 80 %, another one at the end of the call; the other guild still talks."""
    town.move(ANNA, None, A1)
    await clock.advance(4 * MINUTE_S)
    town.move(BERT, None, B1)
    await clock.advance(4 * MINUTE_S - 5)
    assert town.said(A1) == []
    await clock.advance(5 + WRITTEN_S)
    assert town.said(A1) == [texts.waiting.minutes_are_short(0.8, 10)]
    await clock.advance(2 * MINUTE_S)
    assert town.said(A1) == [texts.waiting.minutes_are_short(0.8, 10), used_up(clock)]
    assert (town.live, town.said(B1)) == ([B1], [])


async def test_who_comes_too_soon_is_told_when(town: Town, clock: FakeClock) -> None:
    """By entering, by /join, and when a place in the queue comes up. The next day the bot comes."""
    town.move(ANNA, None, A1)
    town.move(CARA, None, A2)
    await clock.advance(10 * MINUTE_S + WRITTEN_S)
    assert (town.live, len(town.calls)) == ([], 1)
    assert town.said(A2)[-1] == used_up(clock)
    assert await town.board.join(A1, ANNA) == used_up(clock)
    town.move(ANNA, A1, None)
    town.move(BERT, None, A1)
    await clock.advance(WRITTEN_S)
    assert town.said(A1)[-1] == used_up(clock)
    free_at = (clock.now() // HOUR_S + HOURS) * HOUR_S
    await clock.advance(free_at - clock.now() - 1)
    assert await town.board.join(A1, BERT) == texts.waiting.minutes_used_up(10, free_at)
    await clock.advance(1)
    town.move(ANNA, None, A1)
    assert town.live == [A1]


async def test_each_call_has_its_notice(town: Town, clock: FakeClock) -> None:
    """One, also where the call before had it."""
    town.usage.add(A1.guild_id, 8.5 * MINUTE_S)
    for _ in range(2):
        town.move(ANNA, None, A1)
        await clock.advance(5)
        town.move(ANNA, A1, None)
        await clock.advance(5)
    assert [text for text in town.said(A1) if "I leave when" in text] == [
        texts.waiting.minutes_are_short(0.85, 10),
        texts.waiting.minutes_are_short(0.86, 10),
    ]


async def test_only_what_costs_counts(town: Town, clock: FakeClock) -> None:
    """Not while no engine is open, not on an engine that costs nothing, and nothing is kept where there is no limit."""
    town.move(ANNA, None, A1)
    town.calls[0].open = False
    await clock.advance(20 * MINUTE_S)
    assert town.usage.used_s(A1.guild_id) == 0
    assert town.board.status(A1.guild_id).minutes == (0, 10)
    town.calls[0].open = True
    await clock.advance(MINUTE_S + 10)
    assert town.usage.used_s(A1.guild_id) == pytest.approx(70, abs=1.5)
    assert town.board.status(A1.guild_id).minutes == (2, 10)
    town.common_rules = GuildRules()
    await clock.advance(20 * MINUTE_S)
    assert town.usage.used_s(A1.guild_id) == pytest.approx(70, abs=1.5)
    assert town.board.status(A1.guild_id).minutes is None


async def test_status_says_what_is_used(town: Town, clock: FakeClock) -> None:
    """Minutes where there is a limit, tokens of the call where the engine tells them."""
    assert "Minutes" in texts.calls.status(town.board.status(B1.guild_id))
    town.move(ANNA, None, A1)
    await clock.advance(90)
    town.calls[0].metrics.counter("engine.tokens_in").add(12_345)
    said = texts.calls.status(town.board.status(A1.guild_id)).splitlines()
    assert said[0].endswith(" Tokens: 12,345 in, 0 out.")
    assert "Minutes of this server in the last 24 hours: 2 of 10 used, 8 left." in said
    town.common_rules = GuildRules()
    town.calls[0].metrics = Metrics()
    assert not {"Minutes", "Tokens"} & set(texts.calls.status(town.board.status(A1.guild_id)).replace(":", " ").split())


async def test_an_engine_that_costs_nothing_has_no_limit(clock: FakeClock) -> None:
    """However much was used before on another one."""
    town = Town(clock, CountedEngines(1), rules=TEN)
    town.usage.add(A1.guild_id, 10 * MINUTE_S)
    town.move(ANNA, None, A1)
    await clock.advance(20 * MINUTE_S)
    assert (town.live, town.said(A1)) == ([A1], [])
    assert town.board.status(A1.guild_id).minutes is None
    assert await town.board.join(A1, ANNA) == texts.calls.already_here(A1.channel_id)
    await town.close()


async def test_the_last_minute_can_be_talked(town: Town, clock: FakeClock) -> None:
    """In less than a minute no call begins, and one that runs goes on and is where /join says."""
    town.move(ANNA, None, A1)
    await clock.advance(9 * MINUTE_S + 30)
    assert town.live == [A1]
    assert await town.board.join(A1, ANNA) == texts.calls.already_here(A1.channel_id)
    town.move(ANNA, A1, None)
    await clock.advance(WRITTEN_S)
    town.move(ANNA, None, A1)
    await clock.advance(WRITTEN_S)
    assert (town.live, town.said(A1)[-1]) == ([], used_up(clock))


async def test_a_restart_gives_no_minute_back(clock: FakeClock) -> None:
    """The next process refuses what the last one would have; each call above 80 % has its own notice."""
    async with open_store("sqlite+aiosqlite://") as store:
        said: list[str] = []
        for _ in range(3):
            usage = Usage(clock.now)
            memory = UsageMemory(usage, store.usage, clock=clock)
            await memory.load()
            async with memory:
                town = Town(clock, paid(1), rules=TEN, usage=usage)
                town.move(ANNA, None, A1)
                await clock.advance(4.5 * MINUTE_S)
                said += town.said(A1)
                await town.close()
    assert said == [texts.waiting.minutes_are_short(0.8, 10), texts.waiting.minutes_are_short(0.9, 10), used_up(clock)]


@pytest.fixture
async def mixed(clock: FakeClock) -> AsyncIterator[Town]:
    """Two engines that cost money are preferred, then one that costs nothing."""
    cloud, card = paid(2), CountedEngines(1)
    options = [EngineOption("realtime", cloud, PERSONA), EngineOption("personaplex", card, PERSONA)]
    town = Town(clock, card, provider=EngineChoice(options, voices={}, clock=clock), rules=TEN)
    yield town
    await town.close()


async def test_who_has_used_their_minutes_gets_an_engine_that_costs_nothing(mixed: Town, clock: FakeClock) -> None:
    """Where the call cannot go on with it, it ends with the notice, and another one begins."""
    mixed.move(ANNA, None, A1)
    await clock.advance(10 * MINUTE_S + WRITTEN_S)
    assert (mixed.live, [call.costs_money for call in mixed.calls]) == ([A1], [True, False])
    assert mixed.said(A1)[-1] == used_up(clock)
    await clock.advance(60 * MINUTE_S)
    assert (mixed.live, len(mixed.calls)) == ([A1], 2)
    assert mixed.board.status(A1.guild_id).minutes == (10, 10)


async def test_a_call_goes_on_with_an_engine_that_costs_nothing(mixed: Town, clock: FakeClock) -> None:
    """Where one is free: it is told why, and does not end."""
    mixed.move(ANNA, None, A1)
    mixed.calls[0].replaceable = True
    await clock.advance(20 * MINUTE_S)
    assert (mixed.live, len(mixed.calls), len(mixed.calls[0].replaced)) == ([A1], 1, 1)
    assert mixed.calls[0].replaced[0].startswith("This server has used its 10 minutes a day")
    assert not any("10 minutes a day:" in text for text in mixed.said(A1))


async def test_who_waits_for_what_costs_nothing_is_in_nobody_s_way(mixed: Town, clock: FakeClock) -> None:
    """They wait in the queue, others get the engines that cost money, and they are served when theirs is free."""
    for guild in (A1, B1):
        mixed.usage.add(guild.guild_id, 10 * MINUTE_S)
    mixed.move(ANNA, None, A1)
    mixed.move(BERT, None, B1)
    await clock.advance(WRITTEN_S)
    assert mixed.live == [A1]
    assert mixed.board.waiting(B1.guild_id) == {B1.channel_id}
    mixed.move(CARA, None, C1)
    await clock.advance(WRITTEN_S)
    assert mixed.live == [A1, C1]
    assert [call.costs_money for call in mixed.calls] == [False, True]
    mixed.move(ANNA, A1, None)
    await clock.advance(5)
    assert mixed.live == [C1, B1]
