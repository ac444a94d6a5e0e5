"""Several processes that share engine slots, in one test: the real arbiter and the real slots of each, on rows in memory.

Nothing happens between the beats that a test asks for.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from discordplex.cluster.arbiter import arbitrate
from discordplex.cluster.slots import ClusterSlots
from discordplex.cluster.snapshot import TTL_S, SlotRow, Snapshot, WishRow
from discordplex.engine import EngineLease, EngineProvider
from discordplex.loopback.clock import FakeClock


@dataclass
class SharedRows:
    """The rows, and whether they can be reached."""

    clock: FakeClock = field(default_factory=FakeClock)
    snapshot: Snapshot = field(default_factory=Snapshot)
    away: bool = False
    members: "list[Member]" = field(default_factory=list)

    def beat(self, *, times: int = 2) -> None:
        """Everybody who is not frozen beats, one after the other."""
        for _ in range(times):
            for member in self.members:
                if not member.frozen:
                    member.beat_now()

    async def advance(self, seconds: float) -> None:
        """Time passes, with a beat each second."""
        while seconds > 0:
            step_s = min(1.0, seconds)
            seconds -= step_s
            await self.clock.advance(step_s)
            self.beat(times=1)

    def slot(self, name: str) -> SlotRow:
        """What the rows say of a slot."""
        return self.snapshot.slots[name]

    @property
    def holders(self) -> dict[str, str]:
        """Who has which slot."""
        return {name: slot.holder for name, slot in self.snapshot.slots.items() if slot.holder is not None}


class Member:
    """One process, as far as slots go. A frozen one does not beat, and its sockets stay open."""

    def __init__(self, rows: SharedRows) -> None:
        self.name = f"process {len(rows.members)}"
        self.frozen = False
        self._rows = rows
        self.slots = ClusterSlots(rows.clock, changed=lambda: None, beat=self.beat)
        rows.members.append(self)

    @property
    def wishes(self) -> tuple[WishRow, ...]:
        """What its queue wants."""
        return ()

    def serve(self) -> None:
        """A beat has changed something."""

    async def beat(self) -> bool:
        """Read and write the rows; whether that was possible."""
        await asyncio.sleep(0)
        return self.beat_now()

    def beat_now(self) -> bool:
        """As `beat`."""
        if self._rows.away:
            return False
        now = self._rows.clock.now()
        before = replace(self._rows.snapshot, now=now)
        own = self.slots.own_side(self.name, self.wishes, before)
        after = self._rows.snapshot = arbitrate(before, own)
        self.slots.apply(after, own, begun=now, now=now)
        self.serve()
        return True

    async def freeze(self) -> None:
        """Stop for as long as it takes the others to give it up."""
        self.frozen = True
        await self._rows.advance(TTL_S + 2.0)


Provider = TypeVar("Provider", bound=EngineProvider)
Lease = TypeVar("Lease", bound=EngineLease)


class Bot(Member, Generic[Provider, Lease]):
    """One process with a provider and a queue, whose first gets what is granted at once."""

    def __init__(self, rows: SharedRows, kinds: Sequence[str]) -> None:
        super().__init__(rows)
        self.provider: Provider
        self.waiting: dict[int, float] = {}
        """The guilds that wait, and since when."""
        self.calls: dict[int, Lease] = {}
        self._kinds = tuple(kinds)

    @property
    def wishes(self) -> tuple[WishRow, ...]:
        """Who waits, and who has a call."""
        waiting = (WishRow(self.name, guild, guild, turn=since, since=since, kinds=self._kinds) for guild, since in self.waiting.items())
        return (*waiting, *(WishRow(self.name, guild, guild, "running") for guild in self.calls))

    def want(self, guild: int) -> None:
        """This guild waits from now on."""
        self.waiting[guild] = self._rows.clock.now() + guild / 1000

    def serve(self) -> None:
        """Begin the calls that can begin."""
        while self.waiting and not self.frozen and (lease := self.provider.acquire()):
            guild = min(self.waiting, key=self.waiting.__getitem__)
            del self.waiting[guild]
            self.calls[guild] = lease  # type: ignore[assignment] # the provider's own

    def call(self, guild: int) -> Lease:
        """Begin a call, for which something is free."""
        self.want(guild)
        self._rows.beat()
        return self.calls[guild]

    def end(self, guild: int) -> None:
        """A call has ended."""
        self.provider.release(self.calls.pop(guild))
