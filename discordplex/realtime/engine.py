"""RealtimeEngine: the engine port on the Realtime protocol. Sessions follow each other; the conversation goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Final

import structlog
from typing_extensions import Self

from discordplex.clock import Clock
from discordplex.engine import (
    BUSY,
    Closed,
    EngineCaps,
    EngineEvent,
    EngineReady,
    Persona,
    PlaybackResumed,
    SpeakerId,
    until_closed,
)
from discordplex.errors import EngineError, LocalProtocolError
from discordplex.fifo import Fifo
from discordplex.metrics import Metrics
from discordplex.realtime import endings
from discordplex.realtime.client import OtherDialectError
from discordplex.realtime.dialects import VLLM_OMNI, Dialect
from discordplex.realtime.memory import Memory
from discordplex.realtime.session import RealtimeSession, SessionContext, SessionSettings

log = structlog.get_logger()

RENEW_AGAIN_S: Final = 10.0
"""Until another session is tried where the last did not begin, or somebody spoke meanwhile."""
SHORTEST_SESSION_S: Final = 10.0
"""A session that ends earlier was not ended by its clock, whatever the server says: the call's own rule for retries applies."""


class RealtimeEngine:
    """One conversation; do not open it twice. What was said is in `memory`, which outlives it. Thread: loop."""

    def __init__(
        self,
        dialect: Dialect,
        settings: SessionSettings,
        *,
        persona: Persona,
        memory: Memory,
        clock: Clock,
        metrics: Metrics,
        learn: Callable[[Dialect], None] = lambda _: None,
        wait: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`learn` hears of a dialect that turned out to be another one; `wait` for how many seconds the server wants to be left alone."""
        self._outbox: Fifo[EngineEvent] = Fifo()
        self._call = SessionContext(settings, persona, memory, clock, metrics, self._outbox)
        self._clock = clock
        self._learn = learn
        self._wait = wait
        self._succession: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._opened = self._closed = False
        self._sessions = metrics.counter("engine.sessions")
        self._speak(dialect)

    def _speak(self, dialect: Dialect) -> None:
        """Use this dialect. A model that takes turns sends whole replies at once; the others speak in real time."""
        self._dialect = dialect
        self.caps = EngineCaps(realtime_paced=dialect.full_duplex, kind="realtime")
        self._session = self._new_session()

    async def __aenter__(self) -> Self:
        """Open a session. Raises EngineError with a sentence for people."""
        if self._opened:
            raise LocalProtocolError("an engine is opened once; make a new one")
        self._opened = True
        try:
            await self._open_session(self._session)
        except OtherDialectError as silence:
            if not self._call.settings.may_be_duplex or self._dialect.full_duplex:
                raise
            self._speak(VLLM_OMNI)
            try:
                await self._open_session(self._session)
            except EngineError as fault:
                if fault.cause not in (BUSY, endings.NO_VOICE):
                    raise silence from None  # of another kind, and slow
                self._learn(VLLM_OMNI)
                raise
            self._learn(VLLM_OMNI)
        self._session.remember()
        self._outbox.put(EngineReady())
        self._succession = asyncio.create_task(self._succeed(), name="realtime sessions")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the session, whatever happened."""
        self._close(endings.left(self._dialect.service))
        if self._succession is not None:
            self._succession.cancel()
            await asyncio.gather(self._succession, return_exceptions=True)
        await self._session.close()

    @property
    def is_open(self) -> bool:
        """Whether it has a session."""
        return not self._closed and self._session.is_live

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        """Take one tick of what people say; see `VoiceEngine.push`."""
        if not self._closed:
            self._session.push(frames)
            if self._session.may_be_renewed:
                self._over.set()

    def events(self) -> AsyncIterator[EngineEvent]:
        """The engine's events in order, from EngineReady to Closed. One consumer."""
        return until_closed(self._outbox.take)

    def end(self, closed: Closed) -> None:
        """End the conversation at once, as if the server had."""
        self._close(endings.SessionEnding(closed.reason, retry=closed.retry, cause=closed.cause))

    async def interrupt(self, item: str = "", played_ms: float | None = None) -> None:
        """Stop speaking: of `item` people heard `played_ms`. A model that owns its turns is not told."""
        self._session.interrupt(item, played_ms)

    async def forget(self, speaker: SpeakerId) -> None:
        """Drop all that can be dropped of this speaker; see `VoiceEngine`. A model that owns its turns cannot forget."""
        self.drop(speaker)

    async def pause(self) -> None:
        """Drop what people said and nobody has answered, and stop speaking; see `VoiceEngine`."""
        self._session.pause()

    def drop(self, speaker: SpeakerId) -> None:
        """As `forget`, at once."""
        self._session.forget(speaker)

    def reset(self) -> None:
        """Forget everything that was said, and stop speaking."""
        self._session.reset()

    def _new_session(self) -> RealtimeSession:
        return RealtimeSession(self._dialect, self._call, on_over=self._over.set)

    async def _open_session(self, session: RealtimeSession) -> None:
        """Open it. Raises EngineError."""
        try:
            await session.open()
        except EngineError:
            self._wait(session.retry_after_s)
            raise
        self._sessions.add()
        log.info("engine listens", server=self._dialect.service, dialect=self._dialect.name)

    async def _succeed(self) -> None:
        """Where a session ends by the service's clock, open the next; every other end is the call's to judge."""
        try:
            while not self._closed:
                await self._over.wait()
                self._over.clear()
                if self._session.ending is not None:
                    await self._follow(self._session.ending)
                elif self._session.may_be_renewed:
                    await self._renew()
        except Exception:
            log.exception("the next session failed")
            self._close(endings.failed(self._dialect.service, "internal"))

    async def _renew(self) -> None:
        """Open the next session beside this one, which is about to end, and change over while nobody speaks."""
        session = self._new_session()
        self._session.renew_later(RENEW_AGAIN_S)
        try:
            await self._open_session(session)
        except EngineError as fault:
            log.info("the next session does not begin yet", server=self._dialect.service, cause=fault.cause)
            return
        unwanted = session
        if self._session.is_quiet:
            log.info("a session ends soon, the next one begins", server=self._dialect.service)
            session.remember()
            self._session, unwanted = session, self._session
        await unwanted.close()

    async def _follow(self, ending: endings.SessionEnding) -> None:
        """Go on in another session, unless the call has to judge why this one is over."""
        await self._session.close()
        if ending.cause != endings.EXPIRED or self._clock.now() - self._session.began_at < SHORTEST_SESSION_S:
            self._close(ending)
            return
        if self._call.floor.release():
            self._call.playback.resume(self._clock.now())
            self._outbox.put(PlaybackResumed())
        log.info("a session is over, the next one begins", server=self._dialect.service)
        self._session = self._new_session()
        try:
            await self._open_session(self._session)
        except EngineError as fault:
            self._close(endings.SessionEnding(str(fault), retry=fault.retry, cause=fault.cause))
        else:
            self._session.remember()

    def _close(self, ending: endings.SessionEnding) -> None:
        if not self._closed:
            self._closed = True
            self._outbox.put(Closed(ending.reason, retry=ending.retry, cause=ending.cause))
