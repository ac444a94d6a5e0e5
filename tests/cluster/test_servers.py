"""PersonaPlex servers of several processes on one real database: the real pools on real stand-ins."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from discordplex.cluster.rows import Rows
from discordplex.config import PersonaPlexConfig
from discordplex.engine import BUSY
from discordplex.errors import EngineError
from discordplex.loopback.personaplex.log import Connected
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.metrics import Metrics
from discordplex.personaplex import dialing
from discordplex.personaplex.pool import BUSY_AFTER_S, PersonaPlexLease, PersonaPlexPool
from discordplex.queue_order import GuildCall, WaitingChannel
from tests.cluster.conftest import Process, World
from tests.personaplex.chaos import Chaos, PoolProcess
from tests.personaplex.harness import PERSONA


class CallingProcess:
    """One process of the cluster with a pool and a queue, whose first gets what is granted at once."""

    def __init__(self, process: Process, urls: Sequence[str]) -> None:
        self.process = process
        self.provider = PersonaPlexPool(PersonaPlexConfig(urls=tuple(urls)), clock=process.clock, slots=process.cluster.slots)
        self.waiting: dict[int, float] = {}
        self.calls: dict[int, PersonaPlexLease] = {}
        self.frozen = False
        self.frozen_for_s = 0.0
        process.cluster.on_change = self.serve

    @property
    def name(self) -> str:
        return self.process.cluster.member

    def want(self, guild: int) -> None:
        self.waiting[guild] = self.process.cluster.queue.now()
        self.publish()

    def end(self, guild: int) -> None:
        self.provider.release(self.calls.pop(guild))
        self.publish()

    def serve(self) -> None:
        while self.waiting and (lease := self.provider.acquire()):
            guild = min(self.waiting, key=self.waiting.__getitem__)
            del self.waiting[guild]
            self.calls[guild] = lease
        self.publish()

    def publish(self) -> None:
        waiting = [WaitingChannel(guild, guild, since, since, kinds=("personaplex",)) for guild, since in self.waiting.items()]
        self.process.cluster.queue.publish(waiting, [GuildCall(guild, guild, 0.0, 0.0) for guild in self.calls])


class DeafWorld(World):
    """Without notifications, so that a frozen process does nothing: each beats when it is its turn."""

    def rows(self, heard: Callable[[str], None]) -> Rows:
        del heard
        return super().rows(lambda _: None)


class RowsInPostgresql:
    """Processes on rows in PostgreSQL."""

    def __init__(self, world: World, processes: Sequence[CallingProcess]) -> None:
        self.world = world
        self.processes = processes

    async def beat(self) -> None:
        """Until nobody has anything new for the others."""
        before: list[Mapping[str, str]] = []
        while (now := [self.held_as_seen_by(process) for process in self.awake]) != before or any(one != now[0] for one in now):
            before = now
            for process in self.awake:
                while not process.process.cluster.connected:  # it connects, or a beat took too long on a busy machine
                    await process.process.clock.advance(1.0)
                    await asyncio.wait({process.process.beating}, timeout=0.02)
                await process.process.beat()

    async def advance(self, seconds: float) -> None:
        while seconds > 0:
            step_s = min(1.0, seconds)
            seconds -= step_s
            self.world.now += step_s
            for process in self.processes:
                if process.frozen:
                    process.frozen_for_s += step_s
                else:
                    await process.process.clock.advance(step_s)
            await self.beat()

    async def freeze(self, process: PoolProcess, *, frozen: bool) -> None:
        assert isinstance(process, CallingProcess)
        if process.frozen and not frozen:
            await process.process.wake(process.frozen_for_s)
        process.frozen = process.process.frozen = frozen
        process.frozen_for_s = 0.0

    @property
    def awake(self) -> list[CallingProcess]:
        return [process for process in self.processes if not process.frozen]

    @property
    def holders(self) -> Mapping[str, str]:
        return self.held_as_seen_by(self.awake[0])

    def held_as_seen_by(self, process: CallingProcess) -> Mapping[str, str]:
        slots = process.process.cluster.snapshot.slots
        return {name: slot.holder for name, slot in slots.items() if slot.holder is not None}


@asynccontextmanager
async def shared(world: World, servers: int, processes: int) -> AsyncIterator[tuple[RowsInPostgresql, list[StandInServer]]]:
    """So many processes that have seen each other for a while, on so many servers."""
    deaf = DeafWorld(world.url)
    async with contextlib.AsyncExitStack() as stack:
        there = [await stack.enter_async_context(StandInServer("echo", step_ms=0, prompt_step_ms=0)) for _ in range(servers)]
        urls = [server.url for server in there]
        calling = [CallingProcess(await stack.enter_async_context(deaf.process()), urls) for _ in range(processes)]
        rows = RowsInPostgresql(deaf, calling)
        await rows.advance(6.0)
        yield rows, there


async def test_whatever_happens_a_server_has_one_connection_and_no_slot_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in memory, on the database itself."""
    monkeypatch.setattr(dialing, "CLOSE_TIMEOUT_S", 0.05)
    async with shared(world, 3, 3) as (rows, servers):
        chaos = Chaos(3, servers, rows)
        for _ in range(20):
            await chaos.act()
            chaos.check()
        await chaos.end()


async def test_a_server_that_a_frozen_process_keeps_is_told_as_busy_and_not_as_broken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row has lapsed, and its socket is open: whoever gets it waits in the queue again, and the other server is taken first."""
    monkeypatch.setattr(dialing, "CLOSE_TIMEOUT_S", 0.05)
    async with shared(world, 2, 2) as (rows, servers):
        one, two = rows.processes
        one.want(7)
        await rows.beat()
        kept = next(server for server in servers if server.url == one.calls[7].name)
        async with one.calls[7].open(PERSONA, Metrics()):
            await rows.freeze(one, frozen=True)
            await rows.advance(6.0)
            assert not rows.holders
            two.want(8)
            await rows.beat()
            two.want(9)
            await rows.beat()
            assert [two.calls[8].name != kept.url, two.calls[9].name == kept.url] == [True, True]
            opening = asyncio.create_task(two.calls[9].open(PERSONA, Metrics()).__aenter__())
            await kept.log.wait_for(lambda log: len(log.of(Connected)) == 2)
            await rows.advance(BUSY_AFTER_S + 0.1)
            with pytest.raises(EngineError) as busy:
                await opening
            assert busy.value.cause == BUSY
            two.end(9)
            two.want(9)
            await rows.beat()
            assert 9 in two.waiting
            assert [server.failures for server in two.provider.servers] == [0, 0]
