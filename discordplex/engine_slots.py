"""EngineSlots: which engine slots this process may use, where several processes share them. The port, and one process's own slots.

A slot is the right to hold one conversation: a PersonaPlex server is one slot, a service that takes N calls has N. Its name is the kind of
engine, a colon and what tells it from others of this kind, the same in every process and without a secret: `personaplex:ws://gpu-1:8998/...`,
`cascade:3`. A process wants a slot, which is granted later, takes it, and gives it back when the last socket on it has closed.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from discordplex.clock import Clock
from discordplex.engine import EngineLease, EngineProvider

SlotPurpose: TypeAlias = Literal["rescue", "call", "spare"]
"""What a slot is for: to continue a call that lost its engine, to begin a call, or to prepare a call's next conversation. They are granted
in this order."""


class SlotUser(Protocol):
    """What uses a slot. Both methods return at once; afterwards the slot is given back when the socket on it has closed."""

    def asked_back(self) -> None:
        """A call needs this spare slot: leave it."""
        ...

    def lost(self) -> None:
        """Another process may have the slot already: end the conversation on it at once."""
        ...


class EngineSlots(Protocol):
    """The slots of this process and what all processes know of each slot. Thread: loop. Only `answered` waits."""

    @property
    def shared(self) -> bool:
        """Whether other processes use the slots, too: then a slot can be taken only after it was wanted and granted."""
        ...

    def declare(self, slots: Iterable[str]) -> None:
        """These slots exist. Every process declares the same."""
        ...

    def may_take(self, slot: str, purpose: SlotPurpose) -> bool:
        """Whether this process may take the slot for this purpose now: it is granted, not in use, and not lost."""
        ...

    def take(self, slot: str, purpose: SlotPurpose, wisher: object, user: SlotUser) -> None:
        """Use the slot. It ends the wish of `wisher` for this purpose.

        Of a slot that this process uses already, it changes purpose and user: a spare slot that is adopted is taken as a "call".
        """
        ...

    def give_back(self, slot: str) -> None:
        """The slot is not in use any more, and no socket on it is open. Does nothing if this process does not use it."""
        ...

    def is_elsewhere(self, slot: str) -> bool:
        """Whether another process has the slot, as far as is known."""
        ...

    def may_be_busy(self, slot: str) -> bool:
        """Whether the process that had the slot last has vanished with it: its socket may still be open, and the server busy with it."""
        ...

    def want(self, purpose: SlotPurpose, wisher: object, kinds: Sequence[str]) -> None:
        """Wish for a slot of one of these kinds, the preferred one first. The wish lapses after about 2 s unless it is repeated.

        A slot that is granted and not taken is given back when the wish has lapsed. Wishes of calls come from the queue, not from here.
        """
        ...

    async def answered(self, purpose: SlotPurpose, wisher: object) -> None:
        """Return when it is known whether this wish is granted now, which takes some milliseconds, or at most 2 s if nobody can tell."""
        ...

    def report(self, slot: str, failures: int, pause_s: float) -> None:
        """Tell every process that the slot has failed so often in a row, and is avoided for so long; 0 and 0.0: it works.

        A pause with 0 failures means that the server works but has no room: the slot is not granted during the pause. A slot that failed is
        granted during its pause only if no other one works, so that people hear what is wrong.
        """
        ...

    def failures(self, slot: str) -> int:
        """How often in a row it has failed."""
        ...

    def paused_s(self, slot: str) -> float:
        """For how long it is avoided; 0.0 if it works."""
        ...


@runtime_checkable
class SharedProvider(EngineProvider, Protocol):
    """A provider that says which kinds of slots its calls may have."""

    def kinds(self, may_cost: Callable[[], bool]) -> Sequence[str]:
        """The kinds of slots for a call that has engines that cost money only while `may_cost` is true, the preferred one first."""
        ...


@runtime_checkable
class SlotProvider(SharedProvider, Protocol):
    """A provider of one kind of slots, which tells what they are for."""

    def working_for(self, purpose: SlotPurpose) -> int:
        """As `working`, for this purpose. `working` is for new calls."""
        ...

    def acquire_for_purpose(self, purpose: SlotPurpose) -> EngineLease | None:
        """As `acquire`, for this purpose. `acquire` is for new calls."""
        ...


class OwnSlots:
    """The slots of a process that shares them with nobody: it may use all of them at any time."""

    shared = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._paused_until: dict[str, float] = {}

    def declare(self, slots: Iterable[str]) -> None:
        """Do nothing."""

    def may_take(self, slot: str, purpose: SlotPurpose) -> bool:  # noqa: ARG002 -- the port's shape
        """True."""
        return True

    def take(self, slot: str, purpose: SlotPurpose, wisher: object, user: SlotUser) -> None:
        """Do nothing: the provider knows its leases."""

    def give_back(self, slot: str) -> None:
        """Do nothing."""

    def is_elsewhere(self, slot: str) -> bool:  # noqa: ARG002 -- likewise
        """False."""
        return False

    def may_be_busy(self, slot: str) -> bool:  # noqa: ARG002 -- likewise
        """False."""
        return False

    def want(self, purpose: SlotPurpose, wisher: object, kinds: Sequence[str]) -> None:
        """Do nothing: whatever is free can be taken without a wish."""

    async def answered(self, purpose: SlotPurpose, wisher: object) -> None:
        """Return at once."""

    def report(self, slot: str, failures: int, pause_s: float) -> None:
        """Keep it."""
        self._failures[slot] = failures
        self._paused_until[slot] = self._clock.now() + pause_s

    def failures(self, slot: str) -> int:
        """How often in a row it has failed."""
        return self._failures.get(slot, 0)

    def paused_s(self, slot: str) -> float:
        """For how long it is avoided; 0.0 if it works."""
        return max(0.0, self._paused_until.get(slot, float("-inf")) - self._clock.now())
