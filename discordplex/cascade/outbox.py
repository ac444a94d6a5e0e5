"""Outbox: events on their way to the call, in order, limited in number and bytes."""

from dataclasses import dataclass
from typing import Final

from discordplex.engine import Audio, EngineEvent, PlaybackHeld, PlaybackResumed, Problem, SpeakerId, Text
from discordplex.fifo import Fifo

CAPACITY: Final = 512
"""Events. The call takes sound at once, long before it is played: a full outbox means that the call is stuck."""
CAPACITY_BYTES: Final = 4 << 20
"""Bytes of sound and text: twice what is handed over before it is heard."""
MOST_URGENT: Final = 64
"""Most people's words and problems that wait; they do not wait for room. Beyond that the oldest of these is dropped."""


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event, and the people whose words it holds or was made from."""

    event: EngineEvent
    sources: frozenset[SpeakerId]

    @property
    def size(self) -> int:
        """Its bytes."""
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
        return isinstance(self.event, Problem) or self.is_of_a_person

    @property
    def is_of_a_person(self) -> bool:
        """Whether it holds a person's words."""
        return isinstance(self.event, Text) and self.event.role == "person"


class Outbox:
    """First in, first out, one consumer. A producer of many events awaits `room` before each `put`; rare and urgent events do not wait."""

    def __init__(self) -> None:
        self._queued: Fifo[QueuedEvent] = Fifo(lambda queued: queued.size)

    @property
    def held_bytes(self) -> int:
        """How many bytes of sound and text wait."""
        return self._queued.held_bytes

    def put(self, event: EngineEvent, sources: frozenset[SpeakerId] = frozenset()) -> None:
        """Append an event. `sources` are the people whose words it holds or was made from."""
        queued, newest = QueuedEvent(event, sources), self._queued.newest
        if isinstance(event, PlaybackResumed) and newest is not None and isinstance(newest.event, PlaybackHeld):
            self._queued.drop(lambda one: one is newest)  # the consumer never saw that it was held
            return
        if queued.is_expendable and sum(one.is_expendable for one in self._queued) >= MOST_URGENT:
            self._queued.drop_oldest(lambda one: one.is_expendable)
        self._queued.put(queued)

    async def room(self) -> None:
        """Return as soon as one of many events may be put. The reply may have been cut off meanwhile."""
        while len(self._queued) >= CAPACITY or self.held_bytes >= CAPACITY_BYTES:
            await self._queued.shorter()

    def drop(self, item: str) -> None:
        """Drop the sound and text of a reply that was cut off."""
        self._queued.drop(lambda queued: isinstance(queued.event, Audio | Text) and queued.event.item == item)

    def drop_unanswered(self) -> None:
        """Drop the people's words that the consumer has not seen."""
        self._queued.drop(lambda queued: queued.is_of_a_person)

    def forget(self, speaker: SpeakerId) -> None:
        """Drop everything that was made from this person's words."""
        self._queued.drop(lambda queued: speaker in queued.sources)

    async def take(self) -> EngineEvent:
        """The oldest event, as soon as there is one."""
        return (await self._queued.take()).event
