"""What the bot's tests share."""

from collections.abc import Callable

import pytest

from discordplex.loopback.clock import FakeClock
from tests.bot.fakes import CountedEngines, FakeChannel


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def channel(clock: FakeClock) -> FakeChannel:
    return FakeChannel(clock)


@pytest.fixture(scope="session")
def engines() -> Callable[[int], CountedEngines]:
    return CountedEngines
