"""SessionRegistry: who has a call, who waits, who is next. Pure: no clock, no task.

Guilds take turns, in the order in which they came. Of one guild's channels, the first that asked comes first. So a guild with one waiting
channel is served first come, first served; a guild with five lets the others go between its turns.

Where several processes share the engines, this is one process's part of the queue; `SharedQueue` knows the others'. Every channel waits
then, until all processes know of it: a moment later it has an engine, or its number is known.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from discordplex.bot.place import Place
from discordplex.engine import ChoosingProvider, EngineInfo, EngineLease, EngineProvider
from discordplex.engine_slots import SharedProvider
from discordplex.errors import LocalProtocolError
from discordplex.queue_order import GuildCall, OwnQueue, SharedQueue, WaitingChannel, in_order

FRONT_S = 0.001
"""How much earlier than everybody else somebody counts who comes first."""


@dataclass(slots=True)
class RegisteredCall:
    """The channel and the engine of a guild's call. A guild has at most one, because a bot can be in one voice channel of a guild."""

    channel_id: int
    lease: EngineLease
    since: float
    """When it began, by the queue's time."""
    turn: float
    """When its channel asked, also if that was in a process that is gone. After a death it goes before those who asked later."""
    ending: bool = False
    """The call is ending: its engine is not free yet, and nobody can join it."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the queue."""

    serial: int
    """Unique for each time that somebody starts to wait."""
    asker: int | None
    """Who asked; None if unknown."""
    since: float
    """The order of a guild's channels, by the queue's time."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The channel gets an engine; `end` gives it back."""

    place: Place
    lease: EngineLease
    asker: int | None = None
    ticket: Ticket | None = None
    """The ticket of the wait; None if there was no wait."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Every engine is busy; the channel is in the queue."""

    number: int
    """1 is next."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Other processes have to be asked: the channel waits, and gets an engine or a number as soon as they answer."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The guild has its call in another channel; this channel waits until that call ends."""

    channel_id: int
    number: int


@dataclass(frozen=True, slots=True)
class Soon:
    """The guild's last call is ending, and this channel is next."""


@dataclass(frozen=True, slots=True)
class Here:
    """The call is in this channel."""


Answer: TypeAlias = Granted | Waiting | Asking | Elsewhere | Soon | Here


class QueueMemory(Protocol):
    """Keeps the order over a restart. All methods except `load` return at once."""

    async def load(self) -> Iterable[tuple[Place, int | None]]:
        """Which channels had a call or waited when the last process ended, in the order of their requests, with who asked. Never raises."""
        ...

    def entered(self, place: Place, asker: int | None) -> None:
        """A channel got a call, or waits."""
        ...

    def returned(self, place: Place, asker: int | None, before: float | None) -> None:
        """A channel waits in front of everybody: also of other processes' channels, which have asked at `before` at the earliest."""
        ...

    def moved(self, before: Place, after: Place) -> None:
        """A call moved to another channel."""
        ...

    def left(self, place: Place) -> None:
        """A channel has no call any more and does not wait."""
        ...


class NoMemory:
    """Remembers nothing."""

    async def load(self) -> Iterable[tuple[Place, int | None]]:
        """Empty."""
        return ()

    def entered(self, place: Place, asker: int | None) -> None:
        """Do nothing."""

    def returned(self, place: Place, asker: int | None, before: float | None) -> None:
        """Do nothing."""

    def moved(self, before: Place, after: Place) -> None:
        """Do nothing."""

    def left(self, place: Place) -> None:
        """Do nothing."""


class SessionRegistry:
    """All calls, and the queue. All methods: the event loop's thread."""

    def __init__(self, provider: EngineProvider, memory: QueueMemory | None = None, shared: SharedQueue | None = None) -> None:
        """`shared` is the queue of several processes; without it, this process is alone."""
        self.may_cost: Callable[[int], bool] = lambda _: True
        """Whether a guild may have an engine that costs money. Others get one of another kind, if there is one."""
        self.may_begin: Callable[[int], bool] = lambda _: True
        """Whether a call could begin in a guild now, for other processes: what this denies is not granted an engine."""
        self.starts_calls = True
        """Whether calls begin at all. False: everybody waits, for another process."""
        self._provider = provider
        self._memory = memory or NoMemory()
        self._shared = shared or OwnQueue()
        self._calls: dict[int, RegisteredCall] = {}
        self._queue: dict[Place, Ticket] = {}
        self._turns: dict[int, float] = {}
        """The guilds that wait, and since when their turns count."""
        self._numbers: dict[Place, int] | None = {}
        """The queue in order, with numbers; None until it is computed again."""
        self._serials = itertools.count(1)

    @property
    def capacity(self) -> int:
        """How many calls can run at once."""
        return self._provider.capacity

    @property
    def free(self) -> int:
        """How many more calls could start now."""
        return self._provider.free

    @property
    def infos(self) -> Sequence[EngineInfo]:
        """What the engines of each kind are, the preferred kind first."""
        return self._provider.infos if isinstance(self._provider, ChoosingProvider) else (self._provider.info,)

    @property
    def shared(self) -> SharedQueue:
        """The queue of all processes."""
        return self._shared

    @property
    def calls(self) -> int:
        """How many guilds have a call, in all processes, including calls that are ending."""
        return len(self._calls) + len(self._shared.calls_elsewhere)

    @property
    def own_calls(self) -> int:
        """How many of them are calls of this process."""
        return len(self._calls)

    @property
    def length(self) -> int:
        """How many channels wait, in all processes."""
        return len(self._in_order())

    @property
    def queue(self) -> tuple[Place, ...]:
        """Who waits in this process, the next one first, if nobody else comes.

        Another channel of a guild with a call waits until that call ends. Channels that wait at that moment come before it.
        """
        return tuple(place for place in self._in_order() if place in self._queue)

    def call(self, guild_id: int) -> RegisteredCall | None:
        """The guild's call; None if it has none."""
        return self._calls.get(guild_id)

    def number(self, place: Place) -> int | None:
        """The number in the queue, 1 for the next; None if the channel does not wait, or its number is not known yet."""
        return self._in_order().get(place) if self._shared.is_known(place.guild_id, place.channel_id) else None

    def ticket(self, place: Place) -> Ticket | None:
        """The ticket; None if the channel does not wait."""
        return self._queue.get(place)

    @property
    def wanting_an_engine(self) -> int:
        """How many guilds without a call wait for one."""
        own = {place.guild_id for place in self._queue if self._shared.is_known(place.guild_id, place.channel_id)} - self._calls.keys()
        others = {one.guild_id for one in self._shared.waiting_elsewhere} - {one.guild_id for one in self._shared.calls_elsewhere}
        return len(own | others)

    @property
    def wanting_their_own(self) -> frozenset[int]:
        """Guilds with a call and another channel that waits for its end."""
        return frozenset(place.guild_id for place in self._queue if place.guild_id in self._calls)

    def restore(self, order: Iterable[tuple[Place, int | None]], since: Mapping[Place, float] | None = None) -> None:
        """Fill the queue with the channels that waited or had a call before a restart, or in another process.

        Call this before any `request` of their guilds. `since` says when they asked, where other processes compare that.
        """
        for place, asker in order:
            self._enter(place, asker, since.get(place) if since else None)

    def abandon(self, covers: Callable[[int], bool]) -> None:
        """Another process has these guilds now: their channels wait there."""
        for place in [place for place in self._queue if covers(place.guild_id)]:
            self._take_out(place)

    def others_changed(self) -> None:
        """What other processes have or know has changed."""
        self._numbers = None

    def request(self, place: Place, asker: int | None = None, may_begin: Callable[[int], bool] = lambda _: True) -> Answer:
        """Request an engine for a call here. Without a free one, the channel is in the queue, once, however often this is called.

        Whoever waits already goes first, except in guilds that `may_begin` denies for now.
        """
        call = self._calls.get(place.guild_id)
        if call and not call.ending and call.channel_id == place.channel_id:
            return Here()
        others = (waiting.guild_id for waiting in self._queue if waiting != place and self._could_start(waiting))
        if call is None and not any(may_begin(guild_id) and self._could_get_one(guild_id) for guild_id in others):
            granted = self._grant(place, asker)
            if granted:
                return granted
        if place not in self._queue:
            self._enter(place, asker)
            self._memory.entered(place, asker)
        number = self.number(place)
        if call is not None and not call.ending:
            return Elsewhere(call.channel_id, number or 0)
        if number is None:
            return Asking()
        return Soon() if call is not None and number == 1 else Waiting(number)

    def serve(self, still_waits: Callable[[Place], bool], may_begin: Callable[[int], bool] = lambda _: True) -> Granted | None:
        """Give a free engine to the first in the queue who can use it; None if there is no engine or nobody who can.

        Channels for which `still_waits` is False are removed from the queue. Guilds for which `may_begin` is False are skipped for now.
        """
        self.publish()
        for place in self.queue:
            if not self._could_start(place) or not may_begin(place.guild_id):
                continue
            if not still_waits(place):
                self.withdraw(place)
                continue
            granted = self._grant(place, self._queue[place].asker)
            if granted or not self._provider.free:
                return granted
        return None

    def withdraw(self, place: Place) -> bool:
        """Remove a channel from the queue; returns whether it was there."""
        waited = self._take_out(place) is not None
        call = self._calls.get(place.guild_id)
        if waited and (call is None or call.channel_id != place.channel_id):
            self._memory.left(place)
        return waited

    def forget_nobody(self) -> None:
        """The login ends: calls that end from now on stay remembered, and no call begins, also if other processes free an engine."""
        self._memory = NoMemory()
        self.starts_calls = False
        self.publish()

    def move(self, guild_id: int, channel_id: int) -> None:
        """The guild's call moved to another channel, which does not wait any more."""
        call, after = self._calls[guild_id], Place(guild_id, channel_id)
        self.withdraw(after)
        if call.channel_id != channel_id:
            self._memory.moved(Place(guild_id, call.channel_id), after)
        call.channel_id = channel_id
        self.publish()

    def ending(self, guild_id: int) -> None:
        """The guild's call is ending; `end` follows."""
        if not self._calls[guild_id].ending:
            self._calls[guild_id].ending = True
            self._had_its_turn(guild_id)
            self._changed()

    def end(self, guild_id: int) -> None:
        """The guild's call has ended, and its engine is free again. A second call does nothing."""
        call = self._calls.pop(guild_id, None)
        if call:
            if not call.ending:
                self._had_its_turn(guild_id)
            self._provider.release(call.lease)
            self._changed()
            place = Place(guild_id, call.channel_id)
            if place not in self._queue:  # who asked for the next call while this one was ending is still remembered
                self._memory.left(place)

    def return_to_queue(self, place: Place, asker: int | None) -> None:
        """They were granted an engine that there was not: they wait in front of everybody."""
        if place not in self._queue:
            front = self._front()
            self._memory.returned(place, asker, front if self._shared.shared else None)
            self._queue[place] = Ticket(next(self._serials), asker, front)
            self._turns[place.guild_id] = front
            self._changed()

    def _could_start(self, place: Place) -> bool:
        return place.guild_id not in self._calls

    def _could_get_one(self, guild_id: int) -> bool:
        """Whether an engine is free that the guild may use, if there are several kinds."""
        if isinstance(self._provider, ChoosingProvider):
            return self._provider.free_for(lambda: self.may_cost(guild_id)) > 0
        return True

    def _acquire(self, guild_id: int) -> EngineLease | None:
        if isinstance(self._provider, ChoosingProvider):
            return self._provider.acquire_for(lambda: self.may_cost(guild_id))
        return self._provider.acquire()

    def _grant(self, place: Place, asker: int | None) -> Granted | None:
        if place.guild_id in self._calls:
            raise LocalProtocolError(f"guild {place.guild_id} has a call already")
        lease = self._acquire(place.guild_id) if self.starts_calls else None
        if lease is None:
            return None
        ticket = self._take_out(place)
        if ticket is None:
            self._memory.entered(place, asker)
        now = self._shared.now()
        self._calls[place.guild_id] = RegisteredCall(place.channel_id, lease, now, ticket.since if ticket else now)
        self._changed()
        return Granted(place, lease, asker, ticket)

    def _enter(self, place: Place, asker: int | None, since: float | None = None) -> None:
        if place not in self._queue:
            since = self._shared.now() if since is None else since
            self._queue[place] = Ticket(next(self._serials), asker, since)
            self._turns.setdefault(place.guild_id, since)
            self._changed()

    def _take_out(self, place: Place) -> Ticket | None:
        ticket = self._queue.pop(place, None)
        if all(waiting.guild_id != place.guild_id for waiting in self._queue):
            self._turns.pop(place.guild_id, None)
        self._changed()
        return ticket

    def _had_its_turn(self, guild_id: int) -> None:
        """The guild's call ended: its other channels come after the guilds that wait now."""
        if guild_id in self._turns:
            self._turns[guild_id] = self._shared.now()

    def _front(self) -> float:
        """A time before everybody's."""
        known = [(one.turn, one.since) for one in (*self._waiting(), *self._shared.waiting_elsewhere)]
        return min((time for times in known for time in times), default=self._shared.now()) - FRONT_S

    def _in_order(self) -> dict[Place, int]:
        if self._numbers is None:
            lasting = {guild_id for guild_id, call in self._calls.items() if not call.ending}
            lasting |= {call.guild_id for call in self._shared.calls_elsewhere if call.lasts}
            all_of_them = in_order((*self._waiting(), *self._shared.waiting_elsewhere), last=lasting)
            self._numbers = {Place(one.guild_id, one.channel_id): number for number, one in enumerate(all_of_them, start=1)}
        return self._numbers

    def _waiting(self) -> list[WaitingChannel]:
        return [
            WaitingChannel(place.guild_id, place.channel_id, self._turns[place.guild_id], ticket.since)
            for place, ticket in self._queue.items()
        ]

    def _changed(self) -> None:
        self._numbers = None
        self.publish()

    def publish(self) -> None:
        """Tell the other processes who waits here and which calls run here, if there are others."""
        if self._shared.shared:
            self._shared.publish(
                [
                    replace(one, ready=self.starts_calls and self.may_begin(one.guild_id), kinds=self._kinds(one.guild_id))
                    for one in self._waiting()
                ],
                [GuildCall(guild_id, call.channel_id, call.since, call.turn, not call.ending) for guild_id, call in self._calls.items()],
            )

    def _kinds(self, guild_id: int) -> tuple[str, ...]:
        """The kinds of engine slots that a guild may have."""
        if not isinstance(self._provider, SharedProvider):
            return ()
        return tuple(self._provider.kinds(lambda: self.may_cost(guild_id)))
