"""EngineConversation: one conversation with an engine, from opening it to leaving it."""

import asyncio
from typing import Protocol

from discordplex.bridge.downlink import LONGEST_SENTENCE, Downlink
from discordplex.bridge.handover_timing import HandoverTiming
from discordplex.bridge.lifetime import opened
from discordplex.clock import Clock
from discordplex.engine import Closed, VoiceEngine
from discordplex.errors import EngineError
from discordplex.plaintext import one_line
from discordplex.tracing import TraceSpan

SILENT_PER_HEALTHY = 6.0
"""An engine that waits to be spoken to shows in six times as long, without a sound, that it is well."""


class ConversationHost(Protocol):
    """What a conversation belongs to. Thread: loop."""

    def wake(self) -> None:
        """Something has changed: the conversation is over."""
        ...

    def opens_long(self, conversation: "EngineConversation", waited_s: float) -> None:
        """It has been opened for so long already."""
        ...

    async def is_ready(self, conversation: "EngineConversation") -> None:
        """It listens from now on; its events are read afterwards."""
        ...


class EngineConversation:
    """One conversation with an engine, from opening it to leaving it, as a task. `is_ready` is awaited before its events are read."""

    def __init__(self, engine: VoiceEngine, downlink: Downlink, *, clock: Clock, host: ConversationHost, span: TraceSpan) -> None:
        """`span` covers its opening."""
        self.engine = engine
        self.downlink = downlink
        self.ready_at: float | None = None
        self._began_at = clock.now()
        self._clock = clock
        self._host = host
        self._span = span
        self.task = asyncio.create_task(self._run(), name="bridge:engine")
        self.task.add_done_callback(lambda _: host.wake())

    @property
    def is_over(self) -> bool:
        """Whether it is lost or left."""
        return self.task.done()

    @property
    def is_live(self) -> bool:
        """Whether it listens."""
        return self.ready_at is not None and not self.task.done()

    @property
    def opening_s(self) -> float:
        """How long it took to open, or takes so far."""
        return (self._clock.now() if self.ready_at is None else self.ready_at) - self._began_at

    def is_late(self, timing: HandoverTiming, now: float) -> bool:
        """Whether it is still being opened, and not waited for any longer."""
        return self.ready_at is None and timing.is_late(now, self._began_at)

    def is_used_up(self, share: float, now: float) -> bool:
        """Whether it has listened for this share of its memory."""
        memory_s = self.engine.caps.memory_s
        return self.ready_at is not None and memory_s is not None and now - self.ready_at >= share * memory_s

    async def _run(self) -> Closed:
        try:
            async with opened(self.engine, self._clock, lambda waited_s: self._host.opens_long(self, waited_s)):
                self.ready_at = self._clock.now()
                self._span.end()
                await self._host.is_ready(self)
                return await self.downlink.run(self.engine)
        except EngineError as error:
            self._span.fail(error.cause)
            return Closed(one_line(str(error), LONGEST_SENTENCE), retry=error.retry, cause=error.cause)
        finally:
            self._span.end()

    @property
    def healthy_s(self) -> float:
        """How much audio it gave, or what counts as much."""
        if self.ready_at is None:
            return 0.0
        lasted_s = 0.0 if self.engine.caps.realtime_paced else (self._clock.now() - self.ready_at) / SILENT_PER_HEALTHY
        return max(self.downlink.received_s, lasted_s)
