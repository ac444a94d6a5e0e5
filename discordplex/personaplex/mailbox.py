"""Mailbox: the engine's events on their way to the call, bounded in number and bytes."""

from discordplex.audio.format import ENGINE, MODEL_STEP_MS
from discordplex.engine import Audio, EngineEvent
from discordplex.fifo import Fifo

CAPACITY_EVENTS = 8 * 1000 // MODEL_STEP_MS
"""Eight seconds of audio blocks. A consumer that is further behind is beyond help."""

CAPACITY_BYTES = 2 * ENGINE.bytes_of_ms(8000)
"""Of sound, for blocks that are longer than usual."""


class Mailbox:
    """First in, first out. When it is full the oldest audio is dropped, then the oldest of anything; the newest always fits."""

    def __init__(self) -> None:
        self.dropped = 0
        """Events that were dropped since the start."""
        self._events: Fifo[EngineEvent] = Fifo(size_of)

    def put(self, event: EngineEvent) -> None:
        """Append an event; never waits."""
        while self._events and (len(self._events) >= CAPACITY_EVENTS or self._too_many_bytes_with(size_of(event))):
            if not self._events.drop_oldest(lambda waiting: isinstance(waiting, Audio)):
                self._events.drop_oldest()
            self.dropped += 1
        self._events.put(event)

    async def take(self) -> EngineEvent:
        """The oldest event, as soon as there is one."""
        return await self._events.take()

    def _too_many_bytes_with(self, size: int) -> bool:
        held_bytes = self._events.held_bytes
        return bool(size and held_bytes and held_bytes + size > CAPACITY_BYTES)


def size_of(event: EngineEvent) -> int:
    """Bytes of sound in an event."""
    return len(event.pcm) if isinstance(event, Audio) else 0
