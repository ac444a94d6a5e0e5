"""A loopback Discord with a bot in it for the tests of the voice connection."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from discordplex.clock import SystemClock
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.metrics import Metrics
from discordplex.tasks import cancel_and_wait
from discordplex.voice.rtp.threads import SendThread
from tests.loopback.discord.clients import logged_in
from tests.voice.booth import Booth, TappedDecoder, TappedEncoder
from tests.voice.rig import Rig, open_rig

OpenBooth = Callable[..., AbstractAsyncContextManager[Booth]]
Scenario = Callable[[Booth], Coroutine[Any, Any, None]]
SideBySide = Callable[..., Coroutine[Any, Any, None]]


@pytest.fixture
def no_stray_threads() -> Iterator[None]:
    """Whatever a test does, the threads of its wire end with it."""
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("voice-")]


@pytest.fixture
def open_booth(monkeypatch: pytest.MonkeyPatch, no_stray_threads: None) -> OpenBooth:
    """Opens a loopback Discord with a bot in it; keyword arguments go to the loopback."""
    del no_stray_threads
    monkeypatch.setattr("discordplex.voice.rtp.stream.OpusDecoder", TappedDecoder)
    monkeypatch.setattr("discordplex.voice.rtp.sender.OpusEncoder", TappedEncoder)

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Booth]:
        async with LoopbackDiscord(**options) as loopback, logged_in(loopback, loopback.bots[0]) as bot:
            monkeypatch.setenv("SSL_CERT_FILE", str(loopback.ca_file))
            metrics = Metrics()
            with SendThread(clock=SystemClock(), metrics=metrics) as send_thread:
                booth = Booth(loopback, bot, send_thread, metrics)
                try:
                    yield booth
                finally:
                    for link in bot.voice_clients:
                        await link.disconnect(force=True)

    return opened


@pytest.fixture
def side_by_side(open_booth: OpenBooth, tmp_path: Path) -> SideBySide:
    """Plays several scenarios at once, each in a loopback of its own: most of what they do is waiting."""

    async def played(*scenarios: Scenario, **options: Any) -> None:
        async with AsyncExitStack() as rooms:
            booths = [await rooms.enter_async_context(open_booth(dir=tmp_path, **options)) for _ in scenarios]
            playing = [asyncio.create_task(scenario(booth)) for scenario, booth in zip(scenarios, booths, strict=True)]
            try:
                await asyncio.gather(*playing)
            finally:
                await cancel_and_wait(*playing)  # where one has failed, the others leave their booths before these close

    return played


@pytest.fixture
async def booth(open_booth: OpenBooth) -> AsyncIterator[Booth]:
    async with open_booth() as found:
        yield found


@pytest.fixture
def send_thread(no_stray_threads: None) -> Iterator[SendThread]:
    del no_stray_threads
    with SendThread(clock=SystemClock(), metrics=Metrics()) as opened:
        yield opened


@pytest.fixture
async def rig(authority: trustme.CA) -> AsyncIterator[Rig]:
    async with open_rig(authority) as opened:
        yield opened
