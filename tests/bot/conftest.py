"""What the bot's tests share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from discordplex.bot.chat import poster
from discordplex.bot.scheduling import running
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.rest import rate_limits
from discordplex.loopback.discord.rest.rate_limits import BucketLimit
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.personaplex.server import StandInServer
from tests.bot.fakes import CountedEngines, FakeChannel
from tests.home import Home


@pytest.fixture
def channel(clock: FakeClock) -> FakeChannel:
    return FakeChannel(clock)


@pytest.fixture(scope="session")
def engines() -> Callable[[int], CountedEngines]:
    return CountedEngines


WRITE_INTERVAL_S = 0.2
WRITES = BucketLimit(rate_limits.WRITES.calls, rate_limits.WRITES.calls * WRITE_INTERVAL_S / 2)
"""A busy machine may take some writes together that the bot made apart."""


@asynccontextmanager
async def opened(discord: LoopbackDiscord, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    async with discord, StandInServer(mode="echo") as engine:
        monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
        # These save many seconds; their real lengths are tested on a fake clock, and elsewhere.
        monkeypatch.setattr(running, "GRACE_S", 0.3)
        monkeypatch.setattr(poster, "WRITE_INTERVAL_S", WRITE_INTERVAL_S)
        yield Home(discord, (engine,))


@pytest.fixture
async def home(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    async with opened(LoopbackDiscord(writes=WRITES), monkeypatch) as home:
        yield home


@pytest.fixture
async def encrypted_home(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    """The same where Discord demands end-to-end encryption."""
    encrypted = LoopbackDiscord(voice=lambda world: VoiceGatewayServer(world, dave=True), writes=WRITES)
    async with opened(encrypted, monkeypatch) as home:
        yield home
