"""Cluster: this process's membership of a cluster, kept by a beat."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import structlog

from discordplex import __version__
from discordplex.clock import Clock
from discordplex.cluster.arbiter import BOT, SHARDS, OwnSide, arbitrate, next_turn, others_take_part
from discordplex.cluster.overview import overview_of
from discordplex.cluster.queue import ClusterQueue
from discordplex.cluster.rows import EVERYBODY, Rows
from discordplex.cluster.slots import ClusterSlots
from discordplex.cluster.snapshot import TTL_S, Snapshot
from discordplex.errors import ConfigError, StoreError
from discordplex.logs import place_of
from discordplex.metrics import Metrics
from discordplex.overview import ClusterOverview
from discordplex.store import address
from discordplex.store.reasons import code, is_of_the_database
from discordplex.tasks import cancel_and_wait, wait_for

log = structlog.get_logger()

BEAT_S = 1.0
"""How often a member says that it lives."""

ATTEMPT_S = 1.5
"""How long a beat may take, with a new connection if the last one is lost. A member lives through two that fail."""

SEEN_S = TTL_S + BEAT_S
"""A member calls nobody dead before it, and the database server, have been up without a gap for so long: after an outage, the holders
come first."""

CLOCK_JUMP_S = 1.0
"""If the database's clock and this process's differ by so much more than before, one of them was set."""

LONGEST_AGE_S = 1e6
"""What is told of the age of rows that were never read."""

LEAVE_S = 1.0
"""How long giving everything back may take: a process that is asked to end has 5 s for everything."""


class Cluster:
    """What this process shares with the others of its bot: shards, engine slots, the queue. Use it with `joined`. Thread: loop."""

    def __init__(
        self, rows: Callable[[Callable[[str], None]], Rows], *, clock: Clock, metrics: Metrics | None = None, name: str = ""
    ) -> None:
        """`rows` makes the connection; `name` is how operators read of this process."""
        metrics = metrics or Metrics()
        self._failed_beats, self._beat_ms = metrics.counter("cluster.failed_beats"), metrics.histogram("cluster.beat_ms")
        self._shards_taken = metrics.counter("cluster.shards_taken")
        self.member = secrets.token_hex(8)
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self.on_change: Callable[[], None] = lambda: None
        """Called after each beat that changed anything but the times of members, and when the database is lost or back."""
        self.is_busy: Callable[[int], bool] = lambda _: False
        """Whether a shard has calls, so that it stays here."""
        self.slots = ClusterSlots(clock, changed=self._hurry, beat=self.beat)
        self.queue = ClusterQueue(self.member, changed=self._hurry, now=self.now, connected=lambda: self.connected)
        self.snapshot = Snapshot()
        """The rows as of the last beat that succeeded."""
        self.shards: frozenset[int] = frozenset()
        """The shards of this process, as of then."""
        self.connected = False
        """Whether the last beat succeeded."""
        self.takes_part = False
        """Whether this process may have shards: while it does not reach Discord, the others have them all."""
        self.outgrown = False
        """Whether Discord refused the number of shards: `shard_count` asks for a larger one."""
        self._clock = clock
        self._rows = rows(self._heard)
        self.deaths = 0
        """How often the others have taken this process for dead."""
        self._draining = False
        self._leaving = False
        self._bot = ""
        self._shard_count: int | None = None
        self._unconnected: dict[int, float] = {}
        """The shards that could not be connected, and until when that counts."""
        self._logins: dict[int, int] = {}
        self._wanted = asyncio.Event()
        self._next: asyncio.Future[bool] | None = None
        """The end of the next beat to begin: whether it succeeded."""
        self._completed = clock.now()
        """When the last beat that has ended began."""
        self._seen_since: float | None = None
        self._last_success = float("-inf")
        self._sure_until = float("-inf")
        self._clock_offset = 0.0
        self._lapse_at = float("inf")
        self._failing = False

    @property
    def alive(self) -> bool:
        """Whether this process has run without a long stop, so that what it holds is its own."""
        return self._clock.now() - self._completed < TTL_S

    @property
    def overview(self) -> ClusterOverview:
        """All processes of the bot, for an observer. While this process is stopped for long, nothing is known."""
        age_s = min(self._clock.now() - self._last_success, LONGEST_AGE_S)
        return overview_of(self.snapshot, self.member, connected=self.connected and self.alive, age_s=age_s)

    @property
    def others_take_part(self) -> bool:
        """Whether another process lives and may have shards."""
        return others_take_part(self.snapshot, self.member)

    @property
    def is_standby(self) -> bool:
        """Whether the other processes have all shards, and this one none."""
        shards = self.snapshot.shards.values()
        return not self.shards and bool(shards) and all(self.snapshot.is_alive(shard.holder) for shard in shards)

    @property
    def draining(self) -> bool:
        """Whether this process takes nothing new."""
        return self._draining

    async def passable(self) -> None:
        """Return when events may be handled: at once, or, after this process was stopped for long, when it knows what it has lost.

        If the database cannot be reached then, it goes on with what it had.
        """
        while not self.alive:
            await self.beat()

    async def is_sure(self) -> bool:
        """Return whether a beat has succeeded so lately that nobody can have taken anything; after a gap, when one has."""
        while not (self.alive and self._clock.now() < self._sure_until):
            if not await self.beat():
                return False
        return True

    def holds(self, guild_id: int) -> bool:
        """Whether a guild is on a shard of this process. Before the bot is divided, it has every guild."""
        return not self.snapshot.shards or self.snapshot.shard_of(guild_id).shard in self.shards

    async def beat(self) -> bool:
        """Read and write the rows now; returns whether that succeeded."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        self._hurry()
        return await asyncio.shield(self._next)

    async def shard_count(self, ask: Callable[[], Awaitable[int]], bot: str) -> int:
        """Into how many shards this bot is divided: as the others have it, or, if there are none, as `ask` says. Waits for the database.

        Raises what `ask` raises, and ConfigError if the others run another bot. `bot` is the id of this one's user.
        """
        while not (await self.beat() and self._others_are_known()):
            await self._clock.sleep_until(self._clock.now() + BEAT_S)
        self._bot = bot
        if self.outgrown or SHARDS not in self.snapshot.facts or self.snapshot.members.keys() == {self.member}:
            self._shard_count = await ask()
        while not await self.beat():
            await self._clock.sleep_until(self._clock.now() + BEAT_S)
        self._shard_count, self.outgrown = None, False  # from now on it is what the rows say, also where this process is alone one day
        owner = self.snapshot.facts[BOT]
        if owner != bot:
            raise ConfigError(
                f"The database of cluster.url belongs to another bot: the user id of that one is {owner}, and of this one {bot}. "
                "Give each bot a database of its own."
            )
        return int(self.snapshot.facts[SHARDS])

    async def login_turn(self, shard: int, max_concurrency: int) -> float:
        """Seconds until a shard may log in. Its turn is kept for it until then, over all processes; without the database, over this one."""
        self._logins[shard] = max_concurrency
        if await self.beat() and shard in self.shards:
            at = self.snapshot.shards[shard].login_at
        else:
            now = self.now()
            at = next_turn(self.snapshot.shards, shard, max_concurrency, now)
            if shard in self.snapshot.shards:
                shards = {**self.snapshot.shards, shard: replace(self.snapshot.shards[shard], login_at=at)}
                self.snapshot = replace(self.snapshot, shards=shards)
        return max(0.0, at - self.now())

    def now(self) -> float:
        """The time of the database's clock, as far as this process can tell."""
        return self._clock.now() + self._clock_offset

    def take_part(self) -> None:
        """Have shards from now on."""
        self.takes_part = True
        self.queue.hold(False)
        self._hurry()

    def retire(self) -> None:
        """All calls end from now on: have no shard that has none any more. Their guilds keep their places for the next process."""
        self.takes_part = False
        self.queue.hold(True)
        self._hurry()

    def pass_on(self, shard: int, pause_s: float) -> None:
        """Let the others have a shard that cannot be connected here, and claim none for so long. Without others, nothing changes."""
        self._unconnected[shard] = self._clock.now() + pause_s
        self._hurry()

    def drain(self) -> None:
        """Take nothing new, and release each shard as soon as it has no call."""
        self._draining = True
        self._hurry()

    async def leave(self) -> None:
        """Give back everything. Takes a limited time; without the database, the others take it when this member has lapsed."""
        self._leaving = True
        try:
            await wait_for(self._transact(), LEAVE_S)
        except Exception as fault:
            if not is_of_the_database(fault):
                raise
            log.warning("cluster not told of the end", cause=code(fault))
        finally:
            await self._rows.close()

    async def run(self) -> None:
        """Beat until this is cancelled."""
        try:
            while True:
                begun = self._clock.now()
                ending, self._next = self._next, None
                self._wanted.clear()
                succeeded = False
                try:
                    succeeded = await self._attempt()
                finally:
                    self._completed = begun
                    settle(ending, succeeded)
                if self.alive:
                    await self._until(min(begun + BEAT_S, self._lapse_at), may_hurry=succeeded)
        finally:
            settle(self._next, False)

    async def _attempt(self) -> bool:
        """One beat; whether it succeeded. A failure is logged once."""
        before, were_connected = self.snapshot, self.connected
        try:
            await wait_for(self._transact(), ATTEMPT_S)
        except Exception as fault:  # noqa: BLE001 - whatever it is, this process must go on saying that it lives
            self._rows.drop()
            self._failed_beats.add()
            self._seen_since = None
            self.connected = False
            if not (is_of_the_database(fault) or isinstance(fault, StoreError)):
                log.error("cluster beat failed", cause=place_of(fault))  # noqa: TRY400 - without the values of variables
            elif were_connected or not self._failing:
                log.warning("cluster database unreachable", cause=code(fault), retry_in_s=BEAT_S)
            self._failing = True
            if were_connected:
                self._tell()
            return False
        if self._failing:
            log.info("cluster database back")
        self.connected, self._failing = True, False
        if not were_connected or meaning(before) != meaning(self.snapshot):
            self._tell()
        return True

    def _tell(self) -> None:
        """Call `on_change`. If it fails, this process must still go on saying that it lives."""
        try:
            self.on_change()
        except Exception as fault:  # noqa: BLE001 - see above
            log.error("cluster change failed", cause=place_of(fault))  # noqa: TRY400 - without the values of variables

    async def _transact(self) -> None:
        begun = self._clock.now()
        async with self._rows.transaction() as transaction:
            before = transaction.snapshot
            own = self._own_side(before)
            after = arbitrate(before, own)
            self._give_up(after)
            await transaction.write(after)
            concerned = who_must_know(before, after, self.member)
            if concerned:
                await transaction.notify(" ".join(concerned))
        if self._clock.now() - begun < TTL_S and not self._leaving:
            self._apply(after, own, begun)

    def _own_side(self, before: Snapshot) -> OwnSide:
        """What this process has and wants. The wait for the lock is over: what is said here is written before anything else happens."""
        self._keep_time(before)
        own = self.slots.own_side(self.member, self.queue.own, before)
        return replace(
            own,
            name=self.name,
            version=__version__,
            draining=self._draining or not self.takes_part,
            ending=self.queue.held,
            leaving=self._leaving,
            unconnected=frozenset(shard for shard, until in self._unconnected.items() if self._clock.now() < until),
            may_bury=self._may_bury(before),
            shards=self.shards,
            busy=frozenset(shard for shard in self.shards if self.is_busy(shard)),
            bot=self._bot,
            shard_count=self._shard_count,
            outgrown=self.outgrown,
            logins=dict(self._logins),
            lengths=self.queue.lengths,
        )

    def _give_up(self, after: Snapshot) -> None:
        """Stop to use the shards that this beat releases, before another process can take them."""
        kept = frozenset(shard for shard in self.shards if shard in after.shards and after.shards[shard].holder == self.member)
        if kept != self.shards and not self._leaving:
            self.shards = kept
            self._tell()

    def _apply(self, after: Snapshot, own: OwnSide, begun: float) -> None:
        now = self._clock.now()
        self.snapshot, self._sure_until = after, begun + TTL_S
        self._beat_ms.record((now - begun) * 1000)
        before, self.shards = self.shards, frozenset(number for number, shard in after.shards.items() if shard.holder == self.member)
        self._shards_taken.add(len(self.shards - before))
        self._logins = {shard: groups for shard, groups in self._logins.items() if own.logins.get(shard) != groups}
        lapses = [member.expires_at for member in after.members.values() if member.expires_at > after.now and member.member != self.member]
        self._lapse_at = now + max(0.0, min(lapses, default=float("inf")) - self.now())
        self.queue.apply(after, len(own.lengths))
        self.slots.apply(after, own, begun=begun, now=now)

    def _keep_time(self, before: Snapshot) -> None:
        """Compare the clocks, and notice gaps: after one, the others may be late, too."""
        now = self._clock.now()
        if self._sure_until > float("-inf") and self.member not in before.members:
            self.deaths += 1
        offset = before.now - now
        jumped = abs(offset - self._clock_offset) > CLOCK_JUMP_S
        if self._seen_since is None or jumped or now - self._last_success > TTL_S:
            self._seen_since = now
        self._clock_offset, self._last_success = offset, now

    def _may_bury(self, before: Snapshot) -> bool:
        seen_s = self._clock.now() - (self._seen_since if self._seen_since is not None else self._clock.now())
        return min(seen_s, before.now - before.up_since) >= SEEN_S

    def _others_are_known(self) -> bool:
        """Whether another member lives, or there is no other."""
        others = self.snapshot.members.keys() - {self.member}
        return not others or any(self.snapshot.is_alive(other) for other in others)

    def _heard(self, payload: str) -> None:
        if payload == EVERYBODY or self.member in payload.split():
            self._hurry()

    def _hurry(self) -> None:
        self._wanted.set()

    async def _until(self, deadline: float, *, may_hurry: bool) -> None:
        """Wait for the next beat: until `deadline`, or until one is wanted."""
        wait = asyncio.ensure_future(self._clock.sleep_until(deadline))
        hurry = asyncio.ensure_future(self._wanted.wait())
        try:
            await asyncio.wait({wait, hurry} if may_hurry else {wait}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(wait, hurry)


def settle(ending: "asyncio.Future[bool] | None", succeeded: bool) -> None:  # noqa: FBT001 - the result
    """Wake those who wait for the end of a beat."""
    if ending is not None and not ending.done():
        ending.set_result(succeeded)


def meaning(snapshot: Snapshot) -> object:
    """What others look at: everything but times that pass."""
    members = {name: replace(member, expires_at=0.0) for name, member in snapshot.members.items()}
    return members, snapshot.shards, snapshot.slots, snapshot.wishes, snapshot.facts


def who_must_know(before: Snapshot, after: Snapshot, member: str) -> list[str]:
    """The members that shall look at once: everybody where a shard became free or a process came or went, else who got or loses a slot."""
    freed = any(shard.holder is None and before.shards.get(number, shard).holder is not None for number, shard in after.shards.items())
    if freed or before.members.keys() != after.members.keys():
        return [EVERYBODY]
    changed = [slot for name, slot in after.slots.items() if before.slots.get(name) != slot]
    return sorted({slot.holder for slot in changed if slot.holder and slot.holder != member and slot.holder in after.members})


@asynccontextmanager
async def joined(url: str, *, clock: Clock, metrics: Metrics | None = None, name: str = "") -> AsyncIterator[Cluster]:
    """A member of the cluster in the database at `url` (`cluster.url`). At the end of the block it gives back everything.

    Raises ConfigError for an invalid URL. A database that cannot be reached is tried until it can be.
    """
    where = address.parse(url, "cluster.url")
    cluster = Cluster(lambda heard: Rows(where, heard, timeout_s=ATTEMPT_S), clock=clock, metrics=metrics, name=name)
    beating = asyncio.create_task(cluster.run(), name="cluster beat")
    try:
        yield cluster
    finally:
        with anyio.CancelScope(shield=True):
            await cancel_and_wait(beating)
            await cluster.leave()
