"""The fault side of the bridge's tests: an engine, a sink and a source that do exactly what a test says."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType

from typing_extensions import Self

from discordplex.audio.format import ENGINE
from discordplex.engine import (
    NO_RECAP,
    Closed,
    EngineCaps,
    EngineEvent,
    EngineInfo,
    EngineReady,
    Persona,
    Problem,
    Recap,
    SpeakerId,
    StandIn,
    Text,
    VoiceEngine,
)
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics

PACED = EngineCaps(realtime_paced=True)
WHOLE_REPLIES = EngineCaps(realtime_paced=False)

PERSONA = Persona(voice="NATF0.pt", text_prompt="You are a test.")


PLEX, CASCADE = EngineInfo("PersonaPlex", transcribes=False), EngineInfo("the cascade", transcribes=True, takes_turns=True)


async def nothing() -> None:
    """The least that an engine can do."""


class ScriptedEngine:
    """A VoiceEngine under a test's command; it notes what it is told, and when."""

    def __init__(
        self,
        clock: FakeClock,
        *,
        caps: EngineCaps = PACED,
        on_open: Callable[[], Awaitable[None]] = nothing,
        on_push: Callable[[], None] = lambda: None,
        on_close: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self.caps = caps
        self.clock = clock
        self.heard: list[tuple[float, dict[SpeakerId, bytes]]] = []
        self.interrupts: list[tuple[str, float | None]] = []
        self.forgotten: list[SpeakerId] = []
        self.pauses = 0
        self.opened_at: float | None = None
        self.closed_at: float | None = None
        self._on_open, self._on_push, self._on_close = on_open, on_push, on_close
        self._events: asyncio.Queue[EngineEvent] = asyncio.Queue()

    def does(self, *events: EngineEvent) -> None:
        """What the engine does next."""
        for event in events:
            self._events.put_nowait(event)

    async def __aenter__(self) -> Self:
        await self._on_open()
        self.opened_at = self.clock.now()
        self.does(EngineReady())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._on_close()
        self.closed_at = self.clock.now()

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        self.heard.append((self.clock.now(), dict(frames)))
        self._on_push()

    async def events(self) -> AsyncIterator[EngineEvent]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, Closed):
                return

    async def interrupt(self, item: str = "", played_ms: float | None = None) -> None:
        self.interrupts.append((item, played_ms))

    async def forget(self, speaker: SpeakerId) -> None:
        self.forgotten.append(speaker)

    async def pause(self) -> None:
        self.pauses += 1


class ScriptedEars:
    """Ears under a test's command; they note what they are told."""

    name = "a transcription service (whisper-1)"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.heard: list[tuple[float, dict[SpeakerId, bytes]]] = []
        self.forgotten: list[SpeakerId] = []
        self.drops = self.stops = 0
        self.allowed: Callable[[], bool] = lambda: True
        self.running = False
        self._tell: Callable[[Text | Problem], None] | None = None

    def ears(self, allowed: Callable[[], bool], metrics: Metrics) -> Self:
        """The ears of the one call in a test."""
        assert isinstance(metrics, Metrics)
        self.allowed = allowed
        return self

    def tells(self, event: Text | Problem) -> None:
        """What the ears tell now."""
        assert self._tell is not None
        self._tell(event)

    async def run(self, tell: Callable[[Text | Problem], None]) -> None:
        self._tell, self.running = tell, True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.running = False

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        if self.allowed():
            self.heard.append((self.clock.now(), dict(frames)))

    async def forget(self, speaker: SpeakerId) -> None:
        self.forgotten.append(speaker)

    def drop(self) -> None:
        self.drops += 1

    async def stopped(self) -> None:
        self.stops += 1


class ScriptedSpare:
    """A second slot; `lose` is what a provider does who needs it."""

    name = "spare"

    def __init__(self, lease: "ScriptedLease", lost: Callable[[], None]) -> None:
        self.end = ""
        self._lease = lease
        self._lost = lost

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        assert not self.end
        return self._lease.open(persona, metrics, recap)

    def adopt(self) -> None:
        self.end = self.end or "adopted"

    def give_back(self) -> None:
        self.end = self.end or "given back"

    def lose(self) -> None:
        """Somebody needs it for a call."""
        self.end = "lost"
        self._lost()


class ScriptedLease:
    """A lease that opens the engines a test made, in turn, and has a second slot where a test says so."""

    name = "scripted"
    info = EngineInfo("PersonaPlex", transcribes=False)

    def __init__(self, *engines: ScriptedEngine) -> None:
        self.waiting = deque(engines)
        self.personas: list[Persona] = []
        self.recaps: list[Recap] = []
        self.has_spare = False
        self.spares: list[ScriptedSpare] = []

    def spare(self, lost: Callable[[], None]) -> ScriptedSpare | None:
        if not self.has_spare:
            return None
        self.spares.append(ScriptedSpare(self, lost))
        return self.spares[-1]

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        self.personas.append(persona)
        self.recaps.append(recap)
        assert isinstance(metrics, Metrics)
        return self.waiting.popleft()


class PreferredScriptedSlot:
    """A slot at the preferred kind."""

    name = "preferred"

    def __init__(self, lease: "ReplaceableScriptedLease", engine: ScriptedEngine, lost: Callable[[], None]) -> None:
        self.lease, self.engine, self.lost = lease, engine, lost
        self.given_back = False

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        assert isinstance(metrics, Metrics)
        self.lease.personas.append(persona)
        self.lease.recaps.append(recap)
        return self.engine

    def adopt(self) -> None:
        self.lease.info, self.lease.stand_in, self.lease.preferred = PLEX, None, None

    def give_back(self) -> None:
        if not self.given_back:
            self.given_back = True
            self.lost()


class ReplaceableScriptedLease(ScriptedLease):
    """A lease that opens engines of PersonaPlex, and after a replacement those of the cascade."""

    def __init__(self, *engines: ScriptedEngine, others: Sequence[ScriptedEngine]) -> None:
        super().__init__(*engines)
        self.info = PLEX
        self.others = list(others)
        self.servers = 0
        """How many other servers of the same kind are free and work."""
        self.stand_in: StandIn | None = None
        self.failed: list[bool] = []
        self.preferred: ScriptedEngine | None = None
        """A free engine of the preferred kind, while the call has another one."""
        self.slot: PreferredScriptedSlot | None = None

    @property
    def is_replaceable(self) -> bool:
        return bool(self.others)

    def replace(self, *, failed: bool = True) -> bool:
        if not self.others:
            return False
        self.failed.append(failed)
        self.waiting.clear()
        self.waiting.append(self.others.pop(0))
        self.info = CASCADE
        return True

    def preferred_slot(self, lost: Callable[[], None]) -> PreferredScriptedSlot | None:
        if self.preferred is None:
            return None
        self.slot = PreferredScriptedSlot(self, self.preferred, lost)
        return self.slot

    def persona_on(self, persona: Persona) -> Persona:
        return persona if self.info is PLEX else replace(persona, voice="shimmer")

    def relocate(self) -> bool:
        self.servers -= 1
        return self.servers >= 0


class ScriptedSink:
    """Frames that arrive at times a test set, one speaker after another."""

    def __init__(self, clock: FakeClock) -> None:
        self.last_arrival: float | None = None
        self.surplus_s: float | None = None
        self.on_all_heard: Callable[[], None] = lambda: None
        self.pause_s = float("inf")
        self.forgotten: list[SpeakerId] = []
        self._clock = clock
        self._frames: deque[tuple[float, SpeakerId, bytes]] = deque()

    def will_hear(self, at: float, speaker: SpeakerId = 1, pcm: bytes = ENGINE.silence) -> None:
        """A frame of `speaker` arrives at `at`; call it in the order of time."""
        self._frames.append((at, speaker, pcm))

    def take(self, now: float | None = None, /) -> dict[SpeakerId, bytes]:
        self.last_arrival = self.surplus_s = None
        if not self._frames or self._frames[0][0] > self._clock.now():
            return {}
        self.last_arrival, speaker, pcm = self._frames.popleft()
        self.surplus_s = (self._clock.now() if now is None else now) - self.last_arrival
        return {speaker: pcm}

    def forget(self, user_id: SpeakerId, /) -> None:
        self.forgotten.append(user_id)


class ScriptedSource:
    """A source that plays when a test says so."""

    def __init__(self) -> None:
        self.pushed_samples = 0
        self.played_samples = 0
        self.flushes = 0
        self.held = False
        self._waiting = 0

    @property
    def depth_ms(self) -> float:
        return self._waiting / ENGINE.rate_hz * 1000

    def push(self, pcm: bytes, /) -> None:
        samples = len(pcm) // ENGINE.sample_bytes
        self.pushed_samples += samples
        self._waiting += samples

    def flush(self) -> int:
        self.flushes += 1
        flushed, self._waiting = self._waiting, 0
        self.played_samples += flushed
        return flushed

    def hold(self) -> None:
        self.held = True

    def go_on(self) -> None:
        self.held = False

    def play(self, milliseconds: float) -> None:
        """So much of what waits is heard, unless it is held."""
        samples = 0 if self.held else min(self._waiting, round(milliseconds * ENGINE.rate_hz / 1000))
        self.played_samples += samples
        self._waiting -= samples


class ScriptedLink:
    """A voice link that says who is there."""

    def __init__(self, *people: SpeakerId) -> None:
        self.people = frozenset(people)

    async def disconnect(self, *, force: bool = False) -> None:
        raise AssertionError(force)


def pcm_of_ms(milliseconds: float) -> bytes:
    """Engine audio of that length."""
    return bytes(ENGINE.bytes_of_ms(milliseconds))
