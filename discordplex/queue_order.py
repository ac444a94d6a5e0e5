"""The order of the queue over all guilds, and SharedQueue: how several processes of a bot share it. Pure.

Guilds take turns, in the order in which they came. Of one guild's channels, the first that asked comes first.
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Queued(Protocol):
    """What has a place in the order."""

    @property
    def guild_id(self) -> int:
        """Its guild."""
        ...

    @property
    def channel_id(self) -> int:
        """Its channel."""
        ...

    @property
    def turn(self) -> float:
        """The order of guilds."""
        ...

    @property
    def since(self) -> float:
        """The order of a guild's channels."""
        ...


Q = TypeVar("Q", bound=Queued)


def in_order(waiting: Iterable[Q], *, last: Collection[int] = frozenset()) -> Iterator[Q]:
    """All of them, the next one first. The guilds in `last` come after the others."""
    guilds: dict[int, list[Q]] = {}
    for one in sorted(waiting, key=lambda one: (one.guild_id in last, one.turn, one.guild_id, one.since, one.channel_id)):
        guilds.setdefault(one.guild_id, []).append(one)
    return (one for each in itertools.zip_longest(*guilds.values()) for one in each if one)


@dataclass(frozen=True, slots=True)
class WaitingChannel:
    """A channel that waits for an engine, as all processes know it. All times are the queue's `now`."""

    guild_id: int
    channel_id: int
    turn: float
    """When its guild's turn began to count."""
    since: float
    """When it asked."""
    ready: bool = True
    """Whether a call could begin there now."""
    kinds: tuple[str, ...] = ()
    """The kinds of engine slots that it may have, the preferred one first."""


@dataclass(frozen=True, slots=True)
class GuildCall:
    """A guild's call, as all processes know it."""

    guild_id: int
    channel_id: int
    since: float
    """When it began, by the queue's `now`."""
    turn: float
    """When its channel asked for it."""
    lasts: bool = True
    """False while it is ending."""


class SharedQueue(Protocol):
    """What the processes of a bot tell each other of their queues. Thread: loop; all methods return at once."""

    @property
    def shared(self) -> bool:
        """Whether there are other processes."""
        ...

    @property
    def reachable(self) -> bool:
        """Whether the others can be told something now."""
        ...

    def now(self) -> float:
        """A time that all processes agree on, in seconds. It is later at each call."""
        ...

    def publish(self, waiting: Sequence[WaitingChannel], calls: Sequence[GuildCall]) -> None:
        """All waiting channels and calls of this process, as they are from now on."""
        ...

    def ended(self, length_s: float) -> None:
        """A call that heard people has ended after so long."""
        ...

    @property
    def waiting_elsewhere(self) -> Sequence[WaitingChannel]:
        """The channels that wait in other processes, as far as is known. Those that have just been granted an engine are not among them."""
        ...

    @property
    def calls_elsewhere(self) -> Sequence[GuildCall]:
        """The calls of other processes."""
        ...

    @property
    def lengths_s(self) -> Sequence[float]:
        """How long the newest calls of all processes lasted, the newest last."""
        ...

    def is_known(self, guild_id: int, channel_id: int) -> bool:
        """Whether the others know that this channel waits: then it has an engine if it is its turn, else its number is known."""
        ...


class OwnQueue:
    """The SharedQueue of a process that is alone."""

    shared = False
    reachable = True
    waiting_elsewhere: Sequence[WaitingChannel] = ()
    calls_elsewhere: Sequence[GuildCall] = ()
    lengths_s: Sequence[float] = ()

    def __init__(self) -> None:
        self._next: Callable[[], int] = itertools.count(1).__next__

    def now(self) -> float:
        """A number that grows: nobody else compares it with a time."""
        return self._next()

    def publish(self, waiting: Sequence[WaitingChannel], calls: Sequence[GuildCall]) -> None:
        """Do nothing."""

    def ended(self, length_s: float) -> None:
        """Do nothing."""

    def is_known(self, guild_id: int, channel_id: int) -> bool:  # noqa: ARG002 -- the port's shape
        """True: nobody else has to know."""
        return True
