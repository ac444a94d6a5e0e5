"""What a call gives when it is over."""

import asyncio
from dataclasses import replace

import pytest

from discordplex.audio.vad import FLOOR_DBFS, SpeechGate
from discordplex.bot.call.call import Call
from discordplex.bot.call.interface import Next, Outcome
from discordplex.engine import Closed
from discordplex.loopback.clock import FakeClock
from tests.bot.fakes import unconnected
from tests.bot.hall import ANNA, BERT, hall


async def nothing_failed() -> Outcome:
    return Outcome(next=Next.DONE)


@pytest.mark.parametrize("heard_s", [0.0, 60.0])
async def test_the_outcome_says_for_how_long_people_were_heard(clock: FakeClock, heard_s: float) -> None:
    """From the moment that the engine listened: the estimates of those who wait are made of it."""
    began = clock.now()
    async with hall(clock, transcribes=False) as it:
        opened_at = it.engine.opened_at
        assert opened_at == began
        await clock.advance(heard_s)
        outcome = await it.call._take_down(asyncio.create_task(nothing_failed()))
        assert outcome.listened_s == clock.now() - opened_at


async def test_time_is_billed_while_an_engine_that_costs_money_is_open(clock: FakeClock) -> None:
    """Not before people are heard, nor while the engine is lost."""
    async with hall(clock) as it:
        assert (it.call.costs_money, it.call.billed) == (False, False)
        it.lease.info = replace(it.lease.info, costs_money=True)
        assert (it.call.costs_money, it.call.billed) == (True, True)
        it.engine.does(Closed("It is gone."))
        await clock.advance(0.1)
        assert (it.call.costs_money, it.call.billed) == (True, False)
        fresh = Call(context=unconnected(it.preferences, clock), voice_channel=it.voice_channel, lease=it.lease, number=2, quiet=False)
        assert (fresh.costs_money, fresh.billed) == (True, False)


async def test_an_observer_sees_who_speaks_and_no_name(clock: FakeClock) -> None:
    """Names of people and of the place only if they are asked for."""
    async with hall(clock) as it:
        await clock.advance(5)
        seen = it.call.overview(clock.now(), names=False)
        assert (seen.number, seen.phase, seen.age_s) == (1, "listening", 6.5)
        assert [(one.speaking, one.name) for one in seen.people] == [(False, ""), (False, "")]
        assert seen.place == ""
        it.call._hearing.gate._gates[BERT] = loud()
        named = it.call.overview(clock.now(), names=True)
        assert [(one.speaking, one.level_dbfs > FLOOR_DBFS) for one in named.people] == [(False, False), (True, True)]
        assert [one.name for one in named.people] == [it.voice_channel.name_of(person) for person in (ANNA, BERT)]
        assert named.place == it.voice_channel.title


def loud() -> SpeechGate:
    """The gate of somebody who speaks."""
    gate = SpeechGate()
    for _ in range(5):
        gate.update(b"\x00\x40" * 960)
    return gate
