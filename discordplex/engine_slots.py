"""EngineSlots: which engine slots this process may use, where several processes share them. The port, and one process's own slots.

A slot is the right to hold one conversation: a PersonaPlex server is one slot, a service that takes N calls has N. Its name is the kind of
engine, a colon and what tells it from others of this kind, the same in every process and without a secret: `personaplex:ws://gpu-1:8998/...`,
`cascade:3`. A process wants a slot, which is granted later, takes it, and gives it back when the last socket on it has closed.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from discordplex.engine import BUSY, Closed, EngineLease, EngineProvider, SpareSlot
from discordplex.errors import EngineError

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

    def is_pending(self, purpose: SlotPurpose, wisher: object) -> bool:
        """Whether the answer to this wish is to come within some milliseconds. False after it has come, and if nobody can tell."""
        ...

    async def answered(self, purpose: SlotPurpose, wisher: object) -> None:
        """Return when the wish is not pending, after at most 2 s."""
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
class AskingLease(EngineLease, Protocol):
    """A lease that asks for other slots. Where no other process uses them, it never waits and wants nothing."""

    @property
    def awaits_spare(self) -> bool:
        """Whether `spare` has wanted a slot, and the answer is about to come."""
        ...

    @property
    def awaits_replacement(self) -> bool:
        """Whether `want_another` has wanted one of another kind, likewise."""
        ...

    async def find_another(self, *, of_any_kind: bool) -> bool:
        """If the engine's slot cannot be used, ask for another one of this kind; returns whether the lease has it now.

        With `of_any_kind`, ask for one of another kind, too, so that `ReplaceableLease.is_replaceable` is up to date when this returns.
        """
        ...

    def want_another(self, *, of_any_kind: bool) -> None:
        """As `find_another`, without waiting. Repeat it while the call waits; `relocate` and `is_replaceable` say later what there is."""
        ...


@runtime_checkable
class RevocableSlot(SpareSlot, Protocol):
    """A spare slot that may be taken back between `preferred_slot` and its use."""

    on_taken_back: Callable[[], None]
    """Called when it is taken back: the conversation in it has to be left at once."""

    @property
    def is_over(self) -> bool:
        """Whether it was adopted, given back or taken back."""
        ...


def nothing() -> None:
    """Do nothing."""


@runtime_checkable
class SlotProvider(SharedProvider, Protocol):
    """A provider of one kind of slots, which tells what they are for. `EngineProvider` itself speaks of new calls."""

    def working_for(self, purpose: SlotPurpose) -> int:
        """As `working`, for this purpose."""
        ...

    def acquire_for_purpose(self, purpose: SlotPurpose, wisher: object, asked_back: Callable[[], None] = nothing) -> EngineLease | None:
        """As `acquire`, for this purpose. It ends the wish of `wisher`.

        `asked_back` is called if a spare slot has to be left, or is lost: release the lease then.
        """
        ...

    def use_for_call(self, lease: EngineLease) -> None:
        """What was acquired as a spare slot is the engine of a call from now on."""
        ...

    def set_aside(self, failures: int, pause_s: float) -> None:
        """Tell all processes that this kind has failed in calls so often in a row, and is avoided for so long; 0 and 0.0: it works.

        Does nothing if its slots are avoided one by one.
        """
        ...


class OwnSlots:
    """The slots of a process that shares them with nobody: it may use all of them at any time. Its providers remember what has failed."""

    shared = False

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

    def is_pending(self, purpose: SlotPurpose, wisher: object) -> bool:  # noqa: ARG002 -- likewise
        """False."""
        return False

    async def answered(self, purpose: SlotPurpose, wisher: object) -> None:
        """Return at once."""

    def report(self, slot: str, failures: int, pause_s: float) -> None:
        """Do nothing."""

    def failures(self, slot: str) -> int:  # noqa: ARG002 -- likewise
        """0."""
        return 0

    def paused_s(self, slot: str) -> float:  # noqa: ARG002 -- likewise
        """0.0."""
        return 0.0


class NumberedSlots:
    """The slots of a service that takes several calls at once, by number."""

    def __init__(self, kind: str, count: int, slots: EngineSlots) -> None:
        self._names = tuple(f"{kind}:{number}" for number in range(1, count + 1))
        self._slots = slots
        self._used: set[str] = set()
        slots.declare(self._names)

    @property
    def shared(self) -> bool:
        """Whether other processes use them, too."""
        return self._slots.shared

    @property
    def used(self) -> int:
        """How many this process uses."""
        return len(self._used)

    @property
    def elsewhere(self) -> int:
        """How many other processes have."""
        return sum(map(self._slots.is_elsewhere, self._names)) if self._slots.shared else 0

    @property
    def idle(self) -> list[str]:
        """Those that nobody has."""
        return [name for name in self._names if name not in self._used and not self._slots.is_elsewhere(name)]

    @property
    def capacity(self) -> int:
        """How many of them are in use or could be: the others have no room at the moment."""
        return len(self._names) - sum(self._is_full(name) for name in self.idle) if self._slots.shared else len(self._names)

    def free(self, purpose: SlotPurpose) -> int:
        """How many this process may take now."""
        if not self._slots.shared:
            return len(self._names) - len(self._used)
        return sum(self._may_take(name, purpose) for name in self._names)

    def working(self, purpose: SlotPurpose) -> int:
        """How many of them have not failed lately."""
        if not self._slots.shared:
            return self.free(purpose)
        return sum(self._may_take(name, purpose) and not self._slots.paused_s(name) for name in self._names)

    def take(self, purpose: SlotPurpose, wisher: object, asked_back: Callable[[], None], lost: Callable[[], None]) -> "NumberedSlot | None":
        """Use one that is free; None if there is none."""
        free = (name for name in self._names if self._may_take(name, purpose))
        name = min(free, key=self._slots.paused_s, default=None)
        if name is None:
            return None
        self._used.add(name)
        return NumberedSlot(name, self._slots, self._used, purpose=purpose, wisher=wisher, asked_back=asked_back, lost=lost)

    def report(self, names: Iterable[str], failures: int, pause_s: float) -> None:
        """As `EngineSlots.report`, for these. With 0 failures, each is paused for `pause_s` longer than the last, to try one at a time."""
        for number, name in enumerate(names):
            self._slots.report(name, failures, pause_s if failures else pause_s * (number + 1))

    def report_all(self, failures: int, pause_s: float) -> None:
        """As `report`, for all of them."""
        self.report(self._names, failures, pause_s)

    def have_room(self, names: Iterable[str]) -> None:
        """These have turned out to have room."""
        for name in filter(self._is_full, names):
            self._slots.report(name, 0, 0.0)

    def make_room(self) -> None:
        """The service has had room for one more than was known: the next one may be tried, too."""
        full = min(filter(self._is_full, self.idle), key=self._slots.paused_s, default=None)
        if full is not None:
            self._slots.report(full, 0, 0.0)

    def _is_full(self, name: str) -> bool:
        return self._slots.paused_s(name) > 0 and not self._slots.failures(name)

    def _may_take(self, name: str, purpose: SlotPurpose) -> bool:
        return name not in self._used and self._slots.may_take(name, purpose)


class NumberedSlot:
    """One of them in use, until it is given back. A SlotUser."""

    def __init__(
        self,
        name: str,
        slots: EngineSlots,
        used: set[str],
        *,
        purpose: SlotPurpose,
        wisher: object,
        asked_back: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self.name = name
        self.is_lost = False
        self._slots = slots
        self._used = used
        self._given_back = False
        self._on_asked_back, self._on_lost = asked_back, lost
        slots.take(name, purpose, wisher, self)

    def asked_back(self) -> None:
        """A call needs this spare slot."""
        self._on_asked_back()

    def lost(self) -> None:
        """Another process may have it."""
        self.is_lost = True
        self._on_lost()
        self._on_asked_back()

    def use_for_call(self) -> None:
        """It is not a spare slot any more."""
        self._on_asked_back = nothing
        if not self.is_lost:
            self._slots.take(self.name, "call", self, self)

    def give_back(self) -> None:
        """It is not in use any more. A second call does nothing."""
        if not self._given_back:
            self._given_back = True
            self._used.discard(self.name)
            self._slots.give_back(self.name)


TAKEN = Closed(
    "Another process of the bot has this engine now, because this one could not keep it: your call continues when an engine is free.",
    retry=False,
    cause=BUSY,
)
"""How a conversation ends whose slot was lost."""


def taken() -> EngineError:
    """The same for a conversation that is being opened."""
    return EngineError(TAKEN.reason, retry=TAKEN.retry, cause=TAKEN.cause)
