"""A voice-only Discord for the tests of the voice half: a world, its voice gateway behind TLS, and nothing else."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from discordplex.clock import SystemClock
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.discord.world.model import Guild, User
from discordplex.loopback.discord.world.population import populate
from discordplex.loopback.discord.world.world import World
from tests.audio import signals
from tests.audio.signals import pcm


@dataclass
class VoicePlace:
    """What a `Person` needs of the loopback, and short names for its inhabitants."""

    world: World
    voice: VoiceGatewayServer
    ca_file: Path

    @property
    def people(self) -> list[User]:
        return [user for user in self.world.users.values() if not user.bot]

    @property
    def lounge(self) -> str:
        return next(iter(self.world.guilds.values())).voice_channels[0].id

    @property
    def study(self) -> str:
        return next(iter(self.world.guilds.values())).voice_channels[1].id

    @property
    def guild(self) -> str:
        return next(iter(self.world.guilds))


OpenPlace = Callable[..., AbstractAsyncContextManager[VoicePlace]]


@pytest.fixture
def world() -> World:
    """The world that every loopback starts with, on a clock that stands still."""
    made = World(FakeClock())
    populate(made)
    return made


@pytest.fixture
def guild(world: World) -> Guild:
    return next(iter(world.guilds.values()))


@pytest.fixture
def bot(world: World) -> User:
    return next(user for user in world.users.values() if user.bot)


@pytest.fixture
async def loopback() -> AsyncIterator[LoopbackDiscord]:
    async with LoopbackDiscord() as opened:
        yield opened


@pytest.fixture
def open_place(authority: trustme.CA, tmp_path: Path) -> OpenPlace:
    """Opens a voice-only Discord; keyword arguments go to its `VoiceGatewayServer`."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[VoicePlace]:
        world = World(SystemClock())
        populate(world)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        async with VoiceGatewayServer(world, **({"record_media": True} | options)) as voice, served(voice, authority, world):
            yield VoicePlace(world, voice, tmp_path / "ca.pem")

    return opened


@asynccontextmanager
async def served(voice: VoiceGatewayServer, authority: trustme.CA, world: World) -> AsyncIterator[None]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
    application = web.Application()
    application.router.add_get("/", voice.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        world.voice_endpoint = f"127.0.0.1:{runner.addresses[0][1]}"
        yield
    finally:
        await runner.cleanup()


@pytest.fixture
async def place(open_place: OpenPlace) -> AsyncIterator[VoicePlace]:
    async with open_place() as found:
        yield found


def tone(seconds: float, pitch_hz: float = 440.0) -> bytes:
    """A sine as ENGINE PCM."""
    return pcm(signals.tone(seconds, hz=pitch_hz, peak=10_000))


@pytest.fixture(name="tone")
def _tone() -> Callable[..., bytes]:
    return tone
