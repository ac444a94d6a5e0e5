"""What the bot's tests share."""

from collections.abc import AsyncIterator, Callable

import pytest

from discordplex.bot import callbook, poster
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.personaplex.server import StandInServer
from tests.bot.fakes import CountedEngines, FakeChannel
from tests.bot.street import Street


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def channel(clock: FakeClock) -> FakeChannel:
    return FakeChannel(clock)


@pytest.fixture(scope="session")
def engines() -> Callable[[int], CountedEngines]:
    return CountedEngines


@pytest.fixture
async def street(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Street]:
    async with LoopbackDiscord() as discord, StandInServer(mode="echo") as engine:
        monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
        # These save many seconds; their real lengths are tested on a fake clock, and below.
        monkeypatch.setattr(callbook, "GRACE_S", 0.3)
        monkeypatch.setattr(poster, "WRITE_INTERVAL_S", 0.2)
        yield Street(discord, engine)
