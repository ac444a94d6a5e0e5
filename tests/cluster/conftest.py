"""A cluster on a private PostgreSQL server whose time a test moves: nothing here waits for time."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from discordplex.cluster.cluster import Cluster
from discordplex.cluster.rows import Rows, Transaction
from discordplex.cluster.snapshot import Snapshot
from discordplex.loopback.clock import FakeClock, settle
from discordplex.queue_order import WaitingChannel
from discordplex.store import address
from discordplex.store.store import open_store
from discordplex.tasks import cancel_and_wait
from tests.store.conftest import MakeUrl, Sql
from tests.store.conftest import cluster as postgresql
from tests.store.conftest import make_pooler as make_pooler  # noqa: PLC0414 - a fixture
from tests.store.conftest import make_postgresql_url as make_postgresql_url  # noqa: PLC0414 - a fixture

cluster = postgresql

BOT = "42"
"""The id of the bot's user."""

NOON = 1_767_357_000.0


@dataclass
class World:
    """The database's time, and whether it can be reached."""

    url: str
    now: float = NOON
    up_since: float = 0.0
    away: bool = False
    processes: "list[Process]" = field(default_factory=list)

    def rows(self, heard: Callable[[str], None]) -> Rows:
        """A process's connection."""
        return WorldRows(self, heard)

    async def advance(self, seconds: float, *, step_s: float = 1.0) -> None:
        """Time passes for everybody who is not frozen; each of them beats after each step."""
        while seconds > 0:
            step_s = min(step_s, seconds)
            seconds -= step_s
            await self._pass(step_s)
            await self.beat()

    async def _pass(self, seconds: float) -> None:
        """In parts that no process takes for a clock that was set: it beats by itself in between."""
        while seconds > 0:
            part_s = min(0.5, seconds)
            seconds -= part_s
            self.now += part_s
            for process in self.processes:
                if not process.frozen:
                    await process.clock.advance(part_s)

    async def beat(self) -> None:
        """Everybody beats, one after the other."""
        for process in self.processes:
            if not process.frozen and not self.away:
                await process.beat()

    @asynccontextmanager
    async def process(self, *slots: str, shards: int = 0) -> "AsyncIterator[Process]":
        """One more process with these slots in its configuration; it asks for a number of shards if that is not 0."""
        clock = FakeClock()

        def hear(heard: Callable[[str], None], payload: str) -> None:
            if not process.frozen:
                heard(payload)

        made = Cluster(lambda heard: self.rows(functools.partial(hear, heard)), clock=clock, name=f"host:{len(self.processes)}")
        made.takes_part = True
        process = Process(self, made, clock, asyncio.create_task(made.run()))
        made.on_change = process.changed
        made.slots.declare(slots)
        self.processes.append(process)
        try:
            if shards:
                await made.shard_count(lambda: answer(shards), BOT)
            if not self.away:
                await process.beat()
            yield process
        finally:
            if process in self.processes:
                await process.end()

    def shards(self) -> dict[int, list[str]]:
        """Which processes believe that they hold a shard."""
        held: dict[int, list[str]] = {}
        for process in self.processes:
            for shard in process.cluster.shards:
                held.setdefault(shard, []).append(process.cluster.name)
        return held


async def answer(number: int) -> int:
    """What Discord recommends."""
    return number


class WorldRows(Rows):
    """Rows of the real database, at the world's time."""

    def __init__(self, world: World, heard: Callable[[str], None]) -> None:
        super().__init__(address.parse(world.url), heard, timeout_s=5.0)
        self._world = world

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Fail where the database is away."""
        if self._world.away:
            raise ConnectionRefusedError
        async with super().transaction() as transaction:
            transaction.snapshot = replace(transaction.snapshot, now=self._world.now, up_since=self._world.up_since)
            yield transaction


@dataclass
class Process:
    """One process of the bot, as far as the cluster knows it."""

    world: World
    cluster: Cluster
    clock: FakeClock
    beating: "asyncio.Task[None]"
    frozen: bool = False
    changes: list[Snapshot] = field(default_factory=list)

    def changed(self) -> None:
        self.changes.append(self.cluster.snapshot)

    async def beat(self) -> None:
        """Beat, unless the last one failed: then it waits for its clock."""
        beating = asyncio.create_task(self.cluster.beat())
        await settle()
        while not beating.done() and not self.cluster._failing:
            await asyncio.wait({beating}, timeout=0.01)
        await cancel_and_wait(beating)

    async def kill(self) -> None:
        """As by `kill -9`: no goodbye."""
        self.world.processes.remove(self)
        await cancel_and_wait(self.beating)
        self.cluster._rows.drop()

    async def end(self) -> None:
        """As by SIGTERM."""
        self.world.processes.remove(self)
        await cancel_and_wait(self.beating)
        await self.cluster.leave()

    async def wake(self, after_s: float) -> None:
        """It was frozen for so long, and goes on."""
        self.frozen = False
        await self.clock.jump(after_s)

    def wish(self, *guilds: int, ready: bool = True, kinds: tuple[str, ...] = ("personaplex",)) -> None:
        """Guilds on a shard of this process wait for an engine, the one with the least number for the longest time."""
        shard = min(self.cluster.shards, default=0) << 22
        self.cluster.queue.publish([WaitingChannel(shard + one, one * 10, one, one, ready, kinds) for one in guilds], [])


@dataclass
class User:
    """A conversation on a slot."""

    said: list[str] = field(default_factory=list)

    def asked_back(self) -> None:
        self.said.append("asked back")

    def lost(self) -> None:
        self.said.append("lost")


@pytest.fixture
async def world(make_postgresql_url: MakeUrl) -> World:
    """Nobody is in it yet."""
    url = make_postgresql_url()
    async with open_store(url):
        pass
    return World(url)


@pytest.fixture
def sql(world: World) -> Callable[[], Sql]:
    """Another program's way into the database."""
    return lambda: Sql(world.url)
