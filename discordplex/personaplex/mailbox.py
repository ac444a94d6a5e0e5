"""Mailbox: events that wait for their one consumer, with a bound."""

import asyncio
from collections import deque

from discordplex.audio.format import ENGINE, MODEL_STEP_MS
from discordplex.engine import Audio, EngineEvent

CAPACITY_EVENTS = 8 * 1000 // MODEL_STEP_MS
"""Eight seconds of audio blocks. A consumer that is further behind is beyond help."""

CAPACITY_BYTES = 2 * ENGINE.bytes_of_ms(8000)
"""Of sound, for blocks that are longer than usual."""


class Mailbox:
    """First in, first out. When it is full the oldest audio is thrown away, then the oldest of anything; the newest always fits."""

    def __init__(self) -> None:
        self.dropped = 0
        self._bytes = 0
        self._events: deque[EngineEvent] = deque()
        self._filled = asyncio.Event()

    def put(self, event: EngineEvent) -> None:
        """Leave an event; never waits."""
        size = size_of(event)
        while self._events and (len(self._events) >= CAPACITY_EVENTS or (size and self._bytes and self._bytes + size > CAPACITY_BYTES)):
            victim = next((index for index, waiting in enumerate(self._events) if isinstance(waiting, Audio)), 0)
            self._bytes -= size_of(self._events[victim])
            del self._events[victim]
            self.dropped += 1
        self._events.append(event)
        self._bytes += size
        self._filled.set()

    async def take(self) -> EngineEvent:
        """The oldest event, as soon as there is one."""
        while not self._events:
            self._filled.clear()
            await self._filled.wait()
        event = self._events.popleft()
        self._bytes -= size_of(event)
        return event


def size_of(event: EngineEvent) -> int:
    """Bytes of sound in an event."""
    return len(event.pcm) if isinstance(event, Audio) else 0
