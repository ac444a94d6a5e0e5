"""Outbox: events on their way to the call, in order, bounded in number and bytes."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from discordplex.engine import Audio, EngineEvent, PlaybackHeld, PlaybackResumed, Problem, SpeakerId, Text

CAPACITY: Final = 512
"""Events. Sound comes far faster than it is played, but the call takes it at once: a full box means that the call is stuck."""
CAPACITY_BYTES: Final = 4 << 20
"""Of sound and text: twice of what is handed over before it is heard."""
MOST_URGENT: Final = 64
"""People's words and problems that do not wait for room; beyond them the oldest of these is dropped."""


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event, and the people whose words it holds or was made from."""

    event: EngineEvent
    sources: frozenset[SpeakerId]

    @property
    def size(self) -> int:
        """Bytes."""
        match self.event:
            case Audio(pcm):
                return len(pcm)
            case Text(text):
                return len(text) * 4
            case _:
                return 0

    @property
    def is_expendable(self) -> bool:
        """Whether a call that is stuck can do without it."""
        return isinstance(self.event, Problem) or (isinstance(self.event, Text) and self.event.role == "person")


class Outbox:
    """First in, first out, one consumer. Who has much to say awaits `room` before each `put`; what is rare and urgent does not."""

    def __init__(self) -> None:
        self._queued: deque[QueuedEvent] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    @property
    def held_bytes(self) -> int:
        """How many bytes of sound and text wait."""
        return self._bytes

    def put(self, event: EngineEvent, sources: frozenset[SpeakerId] = frozenset()) -> None:
        """Append an event. `sources` are the people whose words it holds or was made from."""
        queued = QueuedEvent(event, sources)
        if isinstance(event, PlaybackResumed) and self._queued and isinstance(self._queued[-1].event, PlaybackHeld):
            self._queued.pop()  # nobody has seen that it was held
            return
        if queued.is_expendable:
            waiting = [one for one in self._queued if one.is_expendable]
            if len(waiting) >= MOST_URGENT:
                self._queued.remove(waiting[0])
                self._bytes -= waiting[0].size
        self._queued.append(queued)
        self._bytes += queued.size
        self._filled.set()

    async def room(self) -> None:
        """Return as soon as one of many events may be put. Whoever waits here may have been cut off meanwhile."""
        while len(self._queued) >= CAPACITY or self._bytes >= CAPACITY_BYTES:
            self._emptied.clear()
            await self._emptied.wait()

    def drop(self, item: str) -> None:
        """Drop the sound and text of a reply that was cut off."""
        self._keep(lambda queued: not (isinstance(queued.event, Audio | Text) and queued.event.item == item))

    def drop_unanswered(self) -> None:
        """Drop the people's words that nobody has seen."""
        self._keep(lambda queued: not (isinstance(queued.event, Text) and queued.event.role == "person"))

    def forget(self, speaker: SpeakerId) -> None:
        """Drop everything that was made from this person's words."""
        self._keep(lambda queued: speaker not in queued.sources)

    async def take(self) -> EngineEvent:
        """The oldest event, as soon as there is one."""
        while not self._queued:
            self._filled.clear()
            await self._filled.wait()
        queued = self._queued.popleft()
        self._bytes -= queued.size
        self._emptied.set()
        return queued.event

    def _keep(self, wanted: Callable[[QueuedEvent], bool]) -> None:
        self._queued = deque(queued for queued in self._queued if wanted(queued))
        self._bytes = sum(queued.size for queued in self._queued)
        self._emptied.set()
