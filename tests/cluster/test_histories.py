"""Whatever happens to processes, in whatever order: nothing has two holders, and in the end everything has one.

The processes are real, but for the rows, which are in memory: thousands of beats take a second.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from hypothesis import example, given, settings
from hypothesis import strategies as st

from discordplex.cluster.arbiter import MOVE_PAUSE_S
from discordplex.cluster.rows import Rows
from discordplex.cluster.snapshot import TTL_S, Snapshot
from discordplex.engine_slots import SlotPurpose
from tests.cluster.conftest import Process, World

SLOTS = ("personaplex:a", "personaplex:b", "cascade:1")
SHARDS = 5
MOST = 4


@dataclass
class MemoryWorld(World):
    """A database in memory."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    lose_commit: bool = False
    """The next transaction is committed, and its process does not learn of it."""
    meanwhile: Callable[[], None] = lambda: None
    """Called while the next transaction is written."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def rows(self, heard: Callable[[str], None]) -> Rows:
        return MemoryRows(self, heard)


class MemoryRows(Rows):
    """Rows in memory."""

    def __init__(self, world: MemoryWorld, heard: Callable[[str], None]) -> None:
        self._world = world
        self._hear = heard

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["MemoryTransaction"]:  # type: ignore[override]
        """Hold the lock."""
        world = self._world
        if world.away:
            raise ConnectionRefusedError
        async with world.lock:
            snapshot = replace(world.snapshot, now=world.now, up_since=world.up_since)
            transaction = MemoryTransaction(snapshot, snapshot)
            yield transaction
            meanwhile, world.meanwhile = world.meanwhile, lambda: None
            meanwhile()
            world.snapshot = transaction.after
            if world.lose_commit:
                world.lose_commit = False
                raise ConnectionResetError

    def drop(self) -> None:
        """There is no connection."""

    async def close(self) -> None:
        """The same."""


@dataclass
class MemoryTransaction:
    """What is committed at the end."""

    snapshot: Snapshot
    after: Snapshot

    async def write(self, after: Snapshot) -> None:
        self.after = after

    async def notify(self, payload: str) -> None:
        del payload


@dataclass(eq=False)
class Player:
    """A process with the calls on its slots, and what it has not learned yet."""

    process: Process
    used: dict[str, "Talk"] = field(default_factory=dict)
    frozen_for_s: float = 0.0
    unaware: bool = False
    """It woke while the database was away: it goes on with what it had."""
    busy: set[int] = field(default_factory=set)

    @property
    def spared(self) -> int:
        """How many shards it has; 0 if each has calls, so that it can give none away."""
        shards = self.process.cluster.shards
        return len(shards) if shards - self.busy else 0

    def take(self, purpose: SlotPurpose) -> None:
        for slot in SLOTS:
            if self.process.cluster.slots.may_take(slot, purpose):
                self.used[slot] = Talk(self, slot)
                self.process.cluster.slots.take(slot, purpose, self, self.used[slot])

    def do(self, act: str) -> None:
        """What takes no time."""
        cluster = self.process.cluster
        if act == "take":
            self.take("call")
        elif act == "give back":
            self.give_back()
        elif act == "withdraw":
            self.process.wish()
        elif act == "drain":
            cluster.drain()
        elif act in ("offline", "online"):
            cluster.take_part() if act == "online" else cluster.retire()
        elif act == "unconnected":
            for shard in cluster.shards:
                cluster.pass_on(shard, 60.0)
        elif act == "freeze":
            self.process.frozen = True
        elif act in ("busy", "idle"):
            self.busy = set(cluster.shards) if act == "busy" else set()

    def give_back(self) -> None:
        for slot in [*self.used][:1]:
            del self.used[slot]
            self.process.cluster.slots.give_back(slot)


@dataclass(eq=False)
class Talk:
    """A conversation on a slot."""

    player: Player
    slot: str

    def asked_back(self) -> None:
        self.lost()
        self.player.process.cluster.slots.give_back(self.slot)

    def lost(self) -> None:
        self.player.used.pop(self.slot, None)


Act: TypeAlias = tuple[str, int, float]

ACTS = (
    "join",
    "kill",
    "end",
    "freeze",
    "wake",
    "drain",
    "offline",
    "online",
    "unconnected",
    "advance",
    "advance",
    "advance",
    "away",
    "back",
    "back",
    "clock set",
    "wish",
    "wish",
    "withdraw",
    "take",
    "take",
    "take meanwhile",
    "spare",
    "rescue",
    "give back",
    "give back meanwhile",
    "lose commit",
    "busy",
    "idle",
)
acts = st.lists(
    st.tuples(st.sampled_from(ACTS), st.integers(0, MOST - 1), st.sampled_from([0.1, 0.9, 1.0, 2.5, 4.5, 7.0, 60.0])), max_size=40
)


class History:
    """Plays it, and looks after each act."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.world = MemoryWorld("", up_since=-1e9)
        self.players: list[Player] = []
        self._stack = stack

    async def play(self, history: list[Act]) -> None:
        await self.join()
        for act, number, amount in history:
            await self.act(act, self.players[number % len(self.players)] if self.players else None, amount)
            self.check()

    async def act(self, act: str, player: Player | None, amount: float) -> None:
        if act == "join" and len(self.players) < MOST:
            await self.join()
        elif act == "advance":
            await self.advance(amount)
        elif act in ("away", "back"):
            self.world.away = act == "away"
        elif act == "clock set":
            self.world.now += amount * (-1) ** int(amount)
        elif player is not None and act == "wake" and player.process.frozen:
            await player.process.wake(player.frozen_for_s)
            player.frozen_for_s = 0.0
            player.unaware = self.world.away
            await player.process.cluster.passable()
        elif player is not None and not player.process.frozen:
            await self.act_of(player, act, amount)

    async def act_of(self, player: Player, act: str, amount: float) -> None:
        process, cluster = player.process, player.process.cluster
        first = 1 + int(amount)
        if act in ("kill", "end"):
            self.players.remove(player)
            await (process.kill() if act == "kill" else process.end())
        elif act in ("spare", "rescue"):
            purpose: SlotPurpose = "spare" if act == "spare" else "rescue"
            cluster.slots.want(purpose, player, ("personaplex",))
            await self.world.beat()
            player.take(purpose)
        elif act in ("take meanwhile", "give back meanwhile"):
            self.world.meanwhile = player.give_back if act.startswith("give") else lambda: player.take("call")
            await self.world.beat()
        elif act == "lose commit":
            self.world.lose_commit = True
            await self.advance(1.0)
        elif act == "wish":
            process.wish(first, first + 1, kinds=("personaplex", "cascade"))
            await self.world.beat()
        else:
            player.do(act)

    async def join(self) -> None:
        process = await self._stack.enter_async_context(
            self.world.process(*SLOTS, shards=0 if self.world.away or self.world.snapshot.members else SHARDS)
        )
        player = Player(process)
        process.cluster.is_busy = lambda shard: shard in player.busy
        self.players.append(player)

    async def advance(self, seconds: float, *, step_s: float = 1.0) -> None:
        await self.world.advance(seconds, step_s=step_s)
        for player in self.players:
            if player.process.frozen:
                player.frozen_for_s += seconds
            elif not self.world.away:
                player.unaware = False

    def check(self) -> None:
        """Of those who run and know what happened, no two have the same."""
        running = [player for player in self.players if not player.process.frozen and not player.unaware]
        slots = [slot for player in running for slot in player.used]
        assert len(slots) == len(set(slots)), "a slot has two users"
        shards = [shard for player in running for shard in player.process.cluster.shards]
        assert len(shards) == len(set(shards)), "a shard has two holders"

    async def settle(self) -> None:
        """Everything is well again for a while. What has calls keeps them."""
        self.world.away = False
        for player in self.players:
            await self.act("wake", player, 0)
            player.do("online")
        await self.advance(60 + TTL_S * 3 + MOVE_PAUSE_S * SHARDS * 2, step_s=2.5)
        self.check()


@example([("join", 0, 1.0), ("lose commit", 0, 1.0)])
@settings(max_examples=40)
@given(acts)
def test_nothing_ever_has_two_holders_and_everything_ends_with_one(history: list[Act]) -> None:
    """Processes join, die, freeze, wake and drain, lose Discord or the database, clocks are set, and calls come and go.

    Nobody has a shard without calls, and two shards more than another process.
    """

    async def play() -> None:
        async with AsyncExitStack() as stack:
            played = History(stack)
            await played.play(history)
            await played.settle()
            taking = [player for player in played.players if not player.process.cluster.draining]
            fewest = min((len(player.process.cluster.shards) for player in taking), default=0)
            shards = {shard for player in played.players for shard in player.process.cluster.shards}
            if taking and played.world.snapshot.shards:
                assert shards == set(range(SHARDS))
                assert all(player.spared <= fewest + 1 for player in taking)
            moved = {number: shard.moved_at for number, shard in played.world.snapshot.shards.items()}
            await played.advance(20, step_s=2.5)
            assert {number: shard.moved_at for number, shard in played.world.snapshot.shards.items()} == moved
            if having := [player for player in taking if player.process.cluster.shards]:  # only they have guilds
                await first_come_first_served(played, having)

    asyncio.run(play())


async def first_come_first_served(history: History, taking: list[Player]) -> None:
    """When all slots are free again, those who have waited longest have them."""
    for player in history.players:
        while player.used:
            player.give_back()
        player.process.wish()
    await history.advance(130, step_s=3.0)  # what dead processes had is as good as anything else
    first = taking[0]
    first.process.wish(1, 2)
    await history.world.beat()
    first.take("call")
    assert len(first.used) == 2
    for number, player in enumerate(taking):
        player.process.wish(10 - number, 20 - number)
    await history.world.beat()
    first.give_back()
    first.give_back()
    await history.world.beat()
    granted = sorted((slot.guild_id or 0) % (1 << 22) for slot in history.world.snapshot.slots.values() if slot.holder)
    assert granted == sorted(10 - number for number in range(len(taking)))[:2] or len(taking) == 1
