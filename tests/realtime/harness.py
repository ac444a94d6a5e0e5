"""A conversation with the stand-in realtime server: real sockets, a fake clock, somebody who speaks and somebody who listens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from discordplex.audio.format import ENGINE
from discordplex.config import RealtimeConfig
from discordplex.engine import (
    Audio,
    Closed,
    EngineEvent,
    EngineLease,
    Interrupted,
    Persona,
    PlaybackHeld,
    PlaybackResumed,
    Text,
    VoiceEngine,
)
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.loopback.timeouts import Changes
from discordplex.metrics import Metrics
from discordplex.realtime.provider import RealtimeProvider
from discordplex.tasks import beside
from tests.audio import signals
from tests.audio.signals import pcm

ANNA, BERT = 100, 200
KEY = "sk-proj-0123456789abcdef"
PERSONA = Persona("marin", "You are a test.")


class Call:
    """One lease and its engine, with a player that plays in the time of the clock."""

    def __init__(self, provider: RealtimeProvider, clock: FakeClock) -> None:
        self.provider, self.clock, self.metrics = provider, clock, Metrics()
        lease = provider.acquire()
        assert lease is not None
        self.lease: EngineLease = lease
        self.engine: VoiceEngine = lease.open(PERSONA, self.metrics)
        self.events: list[EngineEvent] = []
        self.played_ms: dict[str, float] = {}
        self._waiting: list[list[Any]] = []
        self._held = False
        self._changes = Changes()

    async def listen(self) -> None:
        async for event in self.engine.events():
            self.events.append(event)
            if isinstance(event, Audio):
                self._waiting.append([event.item, ENGINE.duration_ms(len(event.pcm))])
            elif isinstance(event, PlaybackHeld | PlaybackResumed):
                self._held = isinstance(event, PlaybackHeld)
            elif isinstance(event, Interrupted):
                await self._interrupt(event.item)
            self._changes.tell()

    async def _interrupt(self, item: str) -> None:
        """As the bridge does: drop what waits, and say how much of it was heard."""
        heard = next((waiting for waiting, _ in self._waiting if item in ("", waiting)), None)
        self._held = False
        if heard is not None:
            self._waiting = []
            await self.engine.interrupt(heard, self.played_ms.get(heard, 0.0))
        elif not item:
            await self.engine.interrupt()

    async def tick(self, frames: dict[int, bytes]) -> None:
        """20 ms pass, in which people say this and hear what waits."""
        left = 0.0 if self._held else float(ENGINE.frame_ms)
        while self._waiting and left > 0:
            item, length = self._waiting[0]
            step = min(left, length)
            self.played_ms[item] = self.played_ms.get(item, 0.0) + step
            left -= step
            self._waiting[0][1] -= step
            if self._waiting[0][1] <= 0:
                self._waiting.pop(0)
        self.engine.push(frames)
        await self.clock.advance(ENGINE.frame_seconds)

    async def say(self, milliseconds: int, *speakers: int) -> None:
        """They speak for so long; nobody, where none is named."""
        for _ in range(milliseconds // ENGINE.frame_ms):
            await self.tick(dict.fromkeys(speakers, tone()))

    async def until(self, predicate: Callable[["Call"], object]) -> None:
        """Wait for the server, in no time of the clock."""
        await self._changes.until(lambda: predicate(self), 10)

    @property
    def sound_ms(self) -> float:
        return ENGINE.duration_ms(sum(len(event.pcm) for event in self.events if isinstance(event, Audio)))

    def words(self, role: str) -> list[tuple[str, int | None]]:
        return [(event.text, event.speaker) for event in self.events if isinstance(event, Text) and event.role == role and event.text]

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def closed(self) -> Closed:
        await self.until(lambda call: call.told(Closed))
        found: Closed = self.told(Closed)[0]
        return found


def tone() -> bytes:
    """A frame of somebody's voice; whole periods of it, so that frames join."""
    return pcm(signals.tone(ENGINE.frame_seconds, hz=450.0))


async def eventually(predicate: Callable[[], object]) -> None:
    """Wait for the server, in no time of the clock."""
    deadline = asyncio.get_running_loop().time() + 10
    while not predicate():
        assert asyncio.get_running_loop().time() < deadline, "the server never did what was waited for"
        await asyncio.sleep(0)


def provider_of(server: RealtimeServer, clock: FakeClock, **changes: Any) -> RealtimeProvider:
    settings = {"url": server.url, "api_key": KEY, "model": "gpt-realtime-2.1-mini", **changes}
    return RealtimeProvider(RealtimeConfig(**settings), clock=clock)


@asynccontextmanager
async def calling(
    server: RealtimeServer, clock: FakeClock, provider: RealtimeProvider | None = None, **changes: Any
) -> AsyncIterator[Call]:
    """A call whose engine listens."""
    call = Call(provider or provider_of(server, clock, **changes), clock)
    try:
        async with call.engine, beside(call.listen()):
            yield call
    finally:
        call.provider.release(call.lease)
