"""Outbox: events on their way to the call, in order."""

import asyncio
from collections import deque

from discordplex.engine import Audio, EngineEvent, Text

CAPACITY = 512
"""Events. Sound comes far faster than it is played, but the call takes it at once: a full box means that the call is stuck."""


class Outbox:
    """First in, first out, one consumer. Who has much to say waits for room; what is rare and urgent never does."""

    def __init__(self) -> None:
        self._events: deque[EngineEvent] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    def put(self, event: EngineEvent) -> None:
        """Leave a rare event; never waits."""
        self._events.append(event)
        self._filled.set()

    async def say(self, event: Audio | Text) -> None:
        """Leave one of many events, as soon as there is room."""
        while len(self._events) >= CAPACITY:
            self._emptied.clear()
            await self._emptied.wait()
        self.put(event)

    def drop(self, item: str) -> None:
        """Throw away what waits of a reply that was cut off."""
        kept = [event for event in self._events if not (isinstance(event, Audio | Text) and event.item == item)]
        self._events = deque(kept)
        self._emptied.set()

    async def take(self) -> EngineEvent:
        """The oldest event, as soon as there is one."""
        while not self._events:
            self._filled.clear()
            await self._filled.wait()
        event = self._events.popleft()
        self._emptied.set()
        return event
