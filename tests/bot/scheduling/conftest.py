"""The town that most tests of this room play in."""

from collections.abc import AsyncIterator

import pytest

from discordplex.loopback.clock import FakeClock
from tests.bot.fakes import CountedEngines
from tests.bot.town import Town


@pytest.fixture
async def town(clock: FakeClock) -> AsyncIterator[Town]:
    """With one engine."""
    town = Town(clock, CountedEngines(1))
    yield town
    await town.close()
