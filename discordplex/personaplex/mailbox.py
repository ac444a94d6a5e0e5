"""Mailbox: events that wait for their one consumer, with a bound."""

import asyncio
from collections import deque

from discordplex.audio.format import MODEL_STEP_MS
from discordplex.engine import Audio, EngineEvent

CAPACITY_EVENTS = 8 * 1000 // MODEL_STEP_MS
"""Eight seconds of audio blocks. A consumer that is further behind is beyond help."""


class Mailbox:
    """First in, first out. When it is full the oldest audio is thrown away, then the oldest of anything; the newest always fits."""

    def __init__(self) -> None:
        self.dropped = 0
        self._events: deque[EngineEvent] = deque()
        self._filled = asyncio.Event()

    def put(self, event: EngineEvent) -> None:
        """Leave an event; never waits."""
        if len(self._events) >= CAPACITY_EVENTS:
            victim = next((index for index, waiting in enumerate(self._events) if isinstance(waiting, Audio)), 0)
            del self._events[victim]
            self.dropped += 1
        self._events.append(event)
        self._filled.set()

    async def take(self) -> EngineEvent:
        """The oldest event, as soon as there is one."""
        while not self._events:
            self._filled.clear()
            await self._filled.wait()
        return self._events.popleft()
