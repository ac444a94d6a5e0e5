"""What a call gives when it is over."""

import asyncio

import pytest

from discordplex.bot.call.interface import Next, Outcome
from discordplex.loopback.clock import FakeClock
from tests.bot.hall import hall


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
