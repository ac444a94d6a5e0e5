"""How often the bot changes channels: one guild's people cannot use up what Discord allows all guilds."""

import itertools
from collections.abc import AsyncIterator

import pytest

from discordplex.bot import texts
from discordplex.bot.place import Place
from discordplex.bot.scheduling.move_limits import ALL, GUILD, MoveLimits
from discordplex.bot.scheduling.running import FOLLOW_TIMEOUT_S, GRACE_S
from discordplex.bot.scheduling.timers import Timers
from discordplex.loopback.clock import FakeClock, settle
from tests.bot.fakes import CountedEngines
from tests.bot.town import A1, A2, ANNA, B1, BERT, CARA, Town

PYCORD_PER_MINUTE = 110


@pytest.fixture
async def town(clock: FakeClock) -> AsyncIterator[Town]:
    town = Town(
        clock, CountedEngines(60), places=[A1, A2, B1, *(Place(guild, guild * 100 + which) for guild in range(10, 60) for which in (1, 2))]
    )
    yield town
    await town.close()


def moves(town: Town) -> int:
    """How often the bot has entered or changed channels."""
    return len(town.calls) + sum(voice_channel.asked_to_move for voice_channel in town.voice_channels.values())


async def hop(town: Town, clock: FakeClock, times: int, every_s: float) -> None:
    """Anna goes from one channel to the other and back; Discord moves the bot as it asks to be."""
    for before, after in itertools.islice(itertools.cycle([(A1, A2), (A2, A1)]), times):
        town.move(ANNA, before, after)
        await obeyed(town, clock, every_s)


async def obeyed(town: Town, clock: FakeClock, seconds: float) -> None:
    """Time passes in which Discord moves the bot as it asks to be."""
    steps = max(1, round(seconds))
    for _ in range(steps):
        await clock.advance(seconds / steps)
        for call in town.calls:
            voice_channel = town.voice_channels[call.voice_channel.place]
            if voice_channel.asked_to_move > voice_channel.moved:
                voice_channel.moved = voice_channel.asked_to_move
                town.board.bot_moved(voice_channel.place.guild_id, voice_channel.place.channel_id)


async def test_a_person_who_hops_costs_no_other_guild_its_call(town: Town, clock: FakeClock) -> None:
    """130 changes in a minute: the bot follows at its guild's rate, ends where they are, and comes to the others at once."""
    town.move(ANNA, None, A1)
    await settle()
    await hop(town, clock, 130, 0.5)
    assert moves(town) <= 1 + GUILD.burst + 65 / GUILD.interval_s
    town.move(BERT, None, B1)
    await settle()
    assert B1 in town.live
    await obeyed(town, clock, 2 * GUILD.interval_s)
    assert [call.voice_channel.place for call in town.calls] == [A1, B1], "it is the same call all the time"


async def test_the_newest_wish_wins(town: Town, clock: FakeClock) -> None:
    """Where people went meanwhile is forgotten; who went back where the bot still is, costs no move."""
    town.move(ANNA, None, A1)
    await settle()
    await hop(town, clock, 2 * GUILD.burst, 0.1)
    before = moves(town)
    await obeyed(town, clock, 10 * GUILD.interval_s)
    assert moves(town) <= before + 1
    assert town.live == [A1]


async def test_coming_and_going_is_limited(town: Town, clock: FakeClock) -> None:
    """Somebody who enters and leaves again and again is served at the guild's rate; /join says when, and it comes then."""
    for _ in range(30):
        town.move(ANNA, None, A1)
        await clock.advance(0.1)
        town.move(ANNA, A1, None)
        await clock.advance(GRACE_S + 0.1)
    assert moves(town) <= GUILD.burst
    town.move(ANNA, None, A1)
    answer = await town.board.join(A1, ANNA)
    wait_s = float(answer.rpartition("in about ")[2].partition(" ")[0])
    assert answer == texts.waiting.moved_often(wait_s)
    await clock.advance(wait_s)
    assert town.live == [A1]
    assert await town.board.join(A1, ANNA) == texts.calls.already_here(A1.channel_id)


async def test_a_hundred_who_hop_leave_room_for_one_who_does_not(town: Town, clock: FakeClock) -> None:
    """The people of fifty guilds together use up what there is; a guild that has asked for nothing yet goes first, within two seconds."""
    pairs = [(Place(guild, guild * 100 + 1), Place(guild, guild * 100 + 2)) for guild in range(10, 60)]
    for person, (one, _) in enumerate(pairs, start=1000):
        town.move(person, None, one)
    for _ in range(30):
        for person, (one, other) in enumerate(pairs, start=1000):
            town.move(person, one, other)
        pairs = [(other, one) for one, other in pairs]
        await obeyed(town, clock, 2)
    assert moves(town) <= PYCORD_PER_MINUTE
    town.move(ANNA, None, A1)
    await clock.advance(2)
    assert A1 in town.live


async def test_a_guild_that_moves_too_often_keeps_its_place_and_holds_nobody_up(clock: FakeClock) -> None:
    """Its turn comes, and the engine goes to the next; then it is served as soon as it may move."""
    town = Town(clock, CountedEngines(1))
    for _ in range(GUILD.burst):
        town.board._moves.made(A1.guild_id)
    town.engines.capacity = 0
    town.voice_channels[A1].people = frozenset({ANNA})
    town.board._registry.request(A1, ANNA)
    town.move(BERT, None, B1)
    town.engines.capacity = 1
    await clock.advance(2.1)
    assert town.live == [B1]
    assert town.board._registry.number(A1) == 1
    town.engines.capacity = 2
    await clock.advance(GUILD.interval_s)
    assert town.live == [B1, A1]
    await town.close()


async def test_wishes_are_one_for_each_guild(clock: FakeClock) -> None:
    """However often they are repeated; what a guild has wished is forgotten when its call ends."""
    timers = Timers(clock)
    all_moves = MoveLimits(clock=clock, timers=timers)
    for _ in range(ALL.burst):
        all_moves.made(1)
    granted: list[int] = []
    for guild_id in range(2, 12):
        for _ in range(100):
            all_moves.when_possible(guild_id, lambda guild_id=guild_id: granted.append(guild_id))  # type: ignore[misc] # one each
    assert len(all_moves) == 10
    all_moves.forget(11, [None])
    await clock.advance(100)
    assert granted == list(range(2, 11))
    await timers.close()


async def test_a_move_that_is_confirmed_late_is_not_the_last(town: Town, clock: FakeClock) -> None:
    """They went back before Discord had moved the bot, which may not move again yet: the call goes on, and follows when it may."""
    town.move(ANNA, None, A1)
    await settle()
    for _ in range(GUILD.burst - 2):
        town.board._moves.made(A1.guild_id)
    town.move(ANNA, A1, A2)
    town.move(ANNA, A2, A1)
    await clock.advance(1)
    town.board.bot_moved(A2.guild_id, A2.channel_id)
    await obeyed(town, clock, GUILD.interval_s + FOLLOW_TIMEOUT_S)
    assert town.live == [A1]
    assert len(town.calls) == 1


@pytest.fixture
async def worn_out(town: Town) -> Town:
    """A guild in which the bot may not move for a while. Bert waits in one channel for it."""
    for _ in range(GUILD.burst):
        town.board._moves.made(A1.guild_id)
    town.move(BERT, None, A2)
    await settle()
    assert town.live == []
    return town


async def test_who_comes_later_does_not_take_the_place_of_who_waits(worn_out: Town, clock: FakeClock) -> None:
    """Somebody who hops into other channels meanwhile delays nobody: the first who still sits there is served, the other is next."""
    worn_out.move(ANNA, None, A1)
    await clock.advance(GUILD.interval_s)
    assert worn_out.live == [A2]
    assert worn_out.said(A1) == [texts.calls.elsewhere(A2.channel_id)]
    worn_out.move(BERT, A2, None)
    await clock.advance(GRACE_S + 2 * GUILD.interval_s)
    assert worn_out.live == [A1]


async def test_nobody_sends_away_what_others_wait_for(worn_out: Town, clock: FakeClock) -> None:
    """Only who has a say in a channel ends its waiting, also where it waits until the bot may move."""
    assert worn_out.board.waiting(A2.guild_id) == {A2.channel_id}
    worn_out.move(CARA, None, A1)
    worn_out.move(CARA, A1, None)
    assert worn_out.board.waiting(A2.guild_id) == {A2.channel_id}, "nobody is there any more"
    assert await worn_out.board.leave(A2.guild_id, "Anna", frozenset()) == texts.calls.NOTHING_TO_LEAVE
    worn_out.move(ANNA, None, A1)
    assert await worn_out.board.leave(A1.guild_id, "Anna", frozenset({A1.channel_id})) == texts.calls.LEFT_QUEUE
    await clock.advance(GUILD.interval_s)
    assert worn_out.live == [A2]


async def test_who_waits_until_the_bot_may_move_can_stop_waiting(worn_out: Town, clock: FakeClock) -> None:
    """By /queue leave as well."""
    assert worn_out.board.leave_queue(A2.guild_id, frozenset({A2.channel_id})) == texts.waiting.LEFT_THE_QUEUE
    await clock.advance(2 * GUILD.interval_s)
    assert worn_out.live == []


async def test_who_waits_until_the_bot_may_move_holds_up_no_other_guild(town: Town, clock: FakeClock) -> None:
    """A guild whose channel is next, and in which the bot may not move yet, keeps no free engine from a guild that comes new."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, A2)
    await settle()
    for _ in range(GUILD.burst):
        town.board._moves.made(A1.guild_id)
    await town.end()
    assert town.live == []
    town.move(CARA, None, B1)
    await settle()
    assert town.live == [B1]
    await clock.advance(2)
    assert town.said(B1) == []
