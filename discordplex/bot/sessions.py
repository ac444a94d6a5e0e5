"""SessionRegistry: who has a call, who waits, who is next. First come, first served over all guilds. Pure: no clock, no task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from discordplex.engine import EngineLease, EngineProvider
from discordplex.errors import LocalProtocolError


@dataclass(frozen=True, slots=True)
class Place:
    """One voice channel of one guild."""

    guild_id: int
    channel_id: int


@dataclass(slots=True)
class Seat:
    """A guild's call: where it is and what it holds. A guild has one at most, since a bot has one voice per guild."""

    channel_id: int
    lease: EngineLease
    ending: bool = False
    """It is being torn down: its engine is not free yet, and nobody can enter it any more."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The engine is theirs; `end` gives it back."""

    place: Place
    lease: EngineLease


@dataclass(frozen=True, slots=True)
class Waiting:
    """Every engine is taken; they stand in the queue."""

    number: int
    """1 is next."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Their guild has its call in another channel; they stand in the queue for when it ends."""

    channel_id: int
    number: int


@dataclass(frozen=True, slots=True)
class Soon:
    """Their guild's last call is being torn down, and they are next."""


@dataclass(frozen=True, slots=True)
class Here:
    """The call is in this very channel."""


Answer: TypeAlias = Granted | Waiting | Elsewhere | Soon | Here


class SessionRegistry:
    """Every call's seat and the queue of those without one. All methods: the event loop's thread."""

    def __init__(self, provider: EngineProvider) -> None:
        self._provider = provider
        self._seats: dict[int, Seat] = {}
        self._queue: dict[Place, None] = {}

    @property
    def capacity(self) -> int:
        """How many calls can be held at once."""
        return self._provider.capacity

    @property
    def calls(self) -> int:
        """How many guilds have a call, those that end included."""
        return len(self._seats)

    @property
    def queue(self) -> tuple[Place, ...]:
        """Who waits, the next one first."""
        return tuple(self._queue)

    def seat(self, guild_id: int) -> Seat | None:
        """The guild's call, None where it has none."""
        return self._seats.get(guild_id)

    def number(self, place: Place) -> int | None:
        """Its number in the queue, 1 for the next, None where it does not wait."""
        return list(self._queue).index(place) + 1 if place in self._queue else None

    def ask(self, place: Place) -> Answer:
        """Somebody wants a call here. Who cannot have one now stands in the queue, once, however often they ask."""
        seat = self._seats.get(place.guild_id)
        if seat and not seat.ending and seat.channel_id == place.channel_id:
            return Here()
        if seat is None and not any(self._could_start(waiting) for waiting in self._queue if waiting != place):
            granted = self._grant(place)
            if granted:
                return granted
        self._queue.setdefault(place)
        number = self.number(place) or 0
        if seat is None:
            return Waiting(number)
        if not seat.ending:
            return Elsewhere(seat.channel_id, number)
        return Soon() if number == 1 else Waiting(number)

    def serve(self, still_waits: Callable[[Place], bool]) -> Granted | None:
        """Give a free engine to the first in the queue who can use it; None where there is no engine or no such one.

        Those whom `still_waits` denies are struck from the queue on the way.
        """
        for place in self.queue:
            if not self._could_start(place):
                continue
            if not still_waits(place):
                del self._queue[place]
                continue
            return self._grant(place)
        return None

    def withdraw(self, place: Place) -> bool:
        """They do not wait any more. Whether they did."""
        waited = place in self._queue
        self._queue.pop(place, None)
        return waited

    def forget_guild(self, guild_id: int) -> None:
        """Nobody of this guild waits any more."""
        for place in self.queue:
            if place.guild_id == guild_id:
                del self._queue[place]

    def move(self, guild_id: int, channel_id: int) -> None:
        """The guild's call is in another channel now, whose people need not wait any more."""
        self._seats[guild_id].channel_id = channel_id
        self.withdraw(Place(guild_id, channel_id))

    def ending(self, guild_id: int) -> None:
        """The guild's call is being torn down; `end` follows."""
        self._seats[guild_id].ending = True

    def end(self, guild_id: int) -> None:
        """The guild's call is gone and its engine is free again. A second time does nothing."""
        seat = self._seats.pop(guild_id, None)
        if seat:
            self._provider.release(seat.lease)

    def _could_start(self, place: Place) -> bool:
        return place.guild_id not in self._seats

    def _grant(self, place: Place) -> Granted | None:
        if place.guild_id in self._seats:
            raise LocalProtocolError(f"guild {place.guild_id} has a call already")
        lease = self._provider.acquire()
        if lease is None:
            return None
        self._queue.pop(place, None)
        self._seats[place.guild_id] = Seat(place.channel_id, lease)
        return Granted(place, lease)
