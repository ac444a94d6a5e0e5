"""A whole cascade engine with people in front of it: real detector, real SDK, real HTTP, and a clock that the test moves."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from discordplex.audio.format import ENGINE
from discordplex.cascade.engine import CascadeEngine
from discordplex.cascade.provider import CascadeLease, CascadeProvider
from discordplex.config import CascadeConfig
from discordplex.engine import Audio, EngineEvent, Interrupted, Persona, Problem, SpeakerId, Text
from discordplex.hearing.detector import Detector, DetectorPool, new_detector
from discordplex.loopback.clock import FakeClock, settle
from discordplex.loopback.timeouts import Changes
from discordplex.metrics import Metrics
from discordplex.tasks import beside
from discordplex.tracing import NO_SPAN, TraceSpan
from tests.hearing.speech import frames_of, pause, sentences

ANNA, BEN = 11, 22
NAMES = {ANNA: "Anna", BEN: "Ben"}
PERSONA = Persona(voice="shimmer", text_prompt="You are a test.")

USED: list[Detector] = []
"""Detectors of earlier tests: making one takes longer than most tests."""


def detectors() -> DetectorPool:
    """A pool whose detectors are real, and reset, and not always new."""
    return DetectorPool(lambda: USED.pop() if USED else new_detector())


Kind = TypeVar("Kind", bound=EngineEvent)


class Call:
    """One call: say things, wait for events."""

    def __init__(self, engine: CascadeEngine, lease: CascadeLease, clock: FakeClock, metrics: Metrics) -> None:
        self.engine = engine
        self.lease = lease
        self.clock = clock
        self.metrics = metrics
        self.events: list[EngineEvent] = []
        self._changes = Changes()

    async def collect(self) -> None:
        """Read the engine's events until it closes."""
        async for event in self.engine.events():
            self.events.append(event)
            self._changes.tell()

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, predicate: Callable[["Call"], object], timeout_s: float = 20.0) -> None:
        """Return as soon as the events satisfy `predicate`; the clock stands still meanwhile."""
        await self._changes.until(lambda: predicate(self), timeout_s)

    async def tick(self, frames: Mapping[SpeakerId, bytes]) -> None:
        """One push; then 20 ms pass, cheaply where nobody waits for them."""
        self.engine.push(frames)
        after = self.clock._now + ENGINE.frame_seconds
        if any(deadline <= after for deadline, *_ in self.clock._timers):
            await self.clock.advance(ENGINE.frame_seconds)
        else:
            self.clock._now = after
            await settle(3)

    async def say(self, pcm: bytes, speaker: SpeakerId = ANNA, until: Callable[["Call"], object] = lambda _: False) -> None:
        """Speak in real time on the test's clock, and stop early where `until` is true."""
        for frame in frames_of(pcm):
            await self.tick({speaker: frame})
            if until(self):
                return

    async def ask(self, sentence: int = 0, speaker: SpeakerId = ANNA) -> None:
        """A whole sentence and the pause that ends it."""
        await self.say(sentences()[sentence], speaker)
        await self.rest(700)

    async def rest(self, milliseconds: float) -> None:
        """Nobody speaks."""
        for _ in frames_of(pause(milliseconds)):
            await self.tick({})

    async def hear_out(self, replies: int = 1) -> None:
        """Wait until so many replies are whole, then until they were heard."""
        await self.until(lambda call: sum(text.final for text in call.spoken) >= replies)
        await self.clock.advance(60)
        await settle()

    @property
    def spoken(self) -> list[Text]:
        return [text for text in self.of(Text) if text.role == "engine"]

    @property
    def said(self) -> list[Text]:
        return [text for text in self.of(Text) if text.role == "person"]

    def words(self, item: str) -> str:
        """The text of one reply."""
        return "".join(text.text for text in self.spoken if text.item == item)

    def sound_ms(self, item: str) -> float:
        return sum(ENGINE.duration_ms(len(audio.pcm)) for audio in self.of(Audio) if audio.item == item)

    def problems(self) -> list[str]:
        return [problem.message for problem in self.of(Problem)]

    def interrupted(self) -> list[str]:
        return [event.item for event in self.of(Interrupted)]


@asynccontextmanager
async def calling(
    config: CascadeConfig,
    provider: CascadeProvider | None = None,
    clock: FakeClock | None = None,
    *,
    reading: bool = True,
    span: TraceSpan = NO_SPAN,
) -> AsyncIterator[Call]:
    """A call that is open, with everybody's names known. Unless it is `reading`, the test collects the events itself."""
    clock = clock or FakeClock()
    pool = detectors()
    provider = provider or CascadeProvider(config, clock=clock, detectors=pool)
    lease = provider.acquire()
    assert lease is not None
    lease.name_of = lambda speaker: NAMES.get(speaker, "")
    metrics = Metrics()
    metrics.span = span
    engine = lease.open(PERSONA, metrics)
    assert isinstance(engine, CascadeEngine)
    async with engine:
        call = Call(engine, lease, clock, metrics)
        async with beside(*([call.collect()] if reading else [])):
            yield call
    provider.release(lease)
    while (detector := pool.take()) is not None:
        USED.append(detector)
