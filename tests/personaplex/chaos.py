"""Random acts of several processes on the same PersonaPlex servers, wherever the rows are that they share."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from discordplex.errors import EngineError
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.metrics import Metrics
from discordplex.personaplex.engine import ServerReport
from discordplex.personaplex.pool import LeasedEngine, PersonaPlexLease, PersonaPlexPool, PersonaPlexSpare
from tests.personaplex.harness import PERSONA


class PoolProcess(Protocol):
    """One process; a call begins there as soon as a server is granted to it."""

    frozen: bool
    provider: PersonaPlexPool
    waiting: dict[int, float]
    calls: dict[int, PersonaPlexLease]

    @property
    def name(self) -> str:
        """As the rows have it."""
        ...

    def want(self, guild: int) -> None:
        """This guild waits from now on."""
        ...

    def end(self, guild: int) -> None:
        """A call has ended."""
        ...


class PoolWorld(Protocol):
    """The processes and what they share."""

    @property
    def processes(self) -> Sequence[PoolProcess]:
        """All of them."""
        ...

    @property
    def holders(self) -> Mapping[str, str]:
        """Who has which slot, by the rows."""
        ...

    async def beat(self) -> None:
        """Everybody who is not frozen learns what is new, and tells what is."""
        ...

    async def advance(self, seconds: float) -> None:
        """Time passes for all."""
        ...

    async def freeze(self, process: PoolProcess, *, frozen: bool) -> None:
        """Stop a process, or let it go on."""
        ...


class Chaos:
    """Random acts of three processes on three servers, each followed by a look at what must always hold."""

    def __init__(self, seed: int, servers: Sequence[StandInServer], world: PoolWorld) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.servers = {server.url: server for server in servers}
        self.processes = world.processes
        self.open: dict[LeasedEngine, PoolProcess] = {}
        """The conversations that are connected, and whose."""
        self.at: dict[PersonaPlexLease | PersonaPlexSpare, LeasedEngine] = {}
        """The conversation of each lease and each spare slot."""
        self.spares: dict[PersonaPlexLease, PersonaPlexSpare] = {}
        self.guilds = itertools.count(1)

    async def act(self) -> None:
        """One of the things that happen."""
        process = self.random.choice(self.processes)
        leases = list(process.calls.values())
        lease = self.random.choice(leases) if leases else None
        acts: list[Callable[[], Awaitable[None]]] = [self.time_passes, self.server_fails, lambda: self.freezes(process)]
        if not process.frozen:
            acts += 3 * [lambda: self.comes(process)]
            if lease is not None:
                acts += [lambda: self.opens(process, lease, lease)] * 3 + [lambda: self.leaves(lease), lambda: self.goes(process, lease)]
                acts += [lambda: self.prepares(process, lease)] * 3 + [lambda: self.adopts(lease), lambda: self.moves(process, lease)]
        await self.random.choice(acts)()
        await self.settle(slowly=True)

    async def time_passes(self) -> None:
        await self.world.advance(self.random.choice([0.5, 1.0, 5.0]))

    async def server_fails(self) -> None:
        server = self.random.choice([*self.servers.values()])
        server.faults = Faults() if server.faults.http_status else Faults(http_status=503)

    async def freezes(self, process: PoolProcess) -> None:
        await self.world.freeze(process, frozen=not process.frozen and self.random.random() < 0.3)

    async def comes(self, process: PoolProcess) -> None:
        process.want(next(self.guilds))

    async def goes(self, process: PoolProcess, lease: PersonaPlexLease) -> None:
        process.end(next(guild for guild, one in process.calls.items() if one is lease))
        self.spares.pop(lease, None)

    async def opens(self, process: PoolProcess, lease: PersonaPlexLease, slot: PersonaPlexLease | PersonaPlexSpare) -> None:
        if slot in self.at:
            return
        if slot is lease:
            await lease.find_another(of_any_kind=True)
        engine = slot.open(PERSONA, Metrics())
        assert isinstance(engine, LeasedEngine)
        opening = asyncio.create_task(engine.__aenter__())
        await asyncio.wait({opening}, timeout=0.1)
        while not opening.done():  # a frozen process is connected
            await self.world.advance(5.0)
        with contextlib.suppress(EngineError):
            await opening
            self.open[engine] = process
            self.at[slot] = engine

    async def leaves(self, slot: PersonaPlexLease | PersonaPlexSpare) -> None:
        engine = self.at.pop(slot, None)
        if engine is not None:
            await engine.__aexit__(None, None, None)
            del self.open[engine]

    async def prepares(self, process: PoolProcess, lease: PersonaPlexLease) -> None:
        if (spare := self.spares.get(lease)) is None:
            spare = lease.spare(lambda: self.drops(lease))
            if spare is not None:
                self.spares[lease] = spare
        if spare is not None and self.random.random() < 0.7:
            await self.opens(process, lease, spare)
        elif spare is not None:
            del self.spares[lease]
            spare.give_back()

    def drops(self, lease: PersonaPlexLease) -> None:
        self.spares.pop(lease, None)

    async def adopts(self, lease: PersonaPlexLease) -> None:
        spare = self.spares.get(lease)
        if spare in self.at:
            del self.spares[lease]
            spare.adopt()
            await self.leaves(lease)
            self.at[lease] = self.at.pop(spare)

    async def moves(self, process: PoolProcess, lease: PersonaPlexLease) -> None:
        if lease not in self.at:
            await lease.find_another(of_any_kind=True)
        assert not process.frozen

    async def settle(self, *, slowly: bool) -> None:
        """Leave what has ended or is nobody's, the latter after a while if `slowly`; then everybody beats."""
        await self.world.beat()
        for process in self.processes:
            for lease in [*process.calls.values()]:
                if lease._server is not None and lease._server.taken_away.is_set():
                    await self.goes(process, lease)
        while True:
            leases = {lease for process in self.processes for lease in process.calls.values()}
            held = leases | {*self.spares.values()}
            lost = [slot for slot, engine in self.at.items() if engine._server.taken_away.is_set()]
            gone = lost or [slot for slot in self.at if slot not in held and (not slowly or self.random.random() < 0.5)]
            if not gone:
                break
            for slot in gone:
                await self.leaves(slot)
        await self.world.beat()

    def check(self) -> None:
        """What must always hold."""
        for process, url in itertools.product(self.processes, self.servers):
            assert sum(engine._server.endpoint.name == url for engine, owner in self.open.items() if owner is process) <= 1
        awake = [process for process in self.processes if not process.frozen]
        for url in self.servers:
            assert sum(engine._server.endpoint.name == url for engine, owner in self.open.items() if owner in awake) <= 1
        for process in awake:
            pool, name = process.provider, process.name
            mine = {slot.removeprefix("personaplex:") for slot, holder in self.world.holders.items() if holder == name}
            assert mine >= {lease.name for lease in process.calls.values()} | {engine._server.endpoint.name for engine in self.of(process)}
            assert pool.capacity == len(self.servers)
            assert pool.free == pool.working == 0, "what is granted is taken at once"
            busy = {server.address for server in pool.servers if server.busy}
            assert busy >= {lease.name for other in awake for lease in other.calls.values()}
            assert busy <= {slot.removeprefix("personaplex:") for slot in self.world.holders}
            assert {server.address for server in pool.servers if server.failed} == {
                server.address for server in awake[0].provider.servers if server.failed
            }

    def of(self, process: PoolProcess) -> list[LeasedEngine]:
        return [engine for engine, owner in self.open.items() if owner is process]

    async def end(self) -> None:
        """Everybody goes: nothing is held any more, and everything can be used again."""
        for process in self.processes:
            await self.world.freeze(process, frozen=False)
        for server in self.servers.values():
            server.faults = Faults()
        await self.world.beat()
        await self.settle(slowly=False)
        for process in self.processes:
            process.waiting.clear()
            for lease in [*process.calls.values()]:
                await self.goes(process, lease)
        await self.settle(slowly=False)
        await self.world.advance(4.0)
        assert not self.open
        assert not self.world.holders
        pool = self.processes[0].provider
        for one in pool._servers:
            pool.report(one, ServerReport.SERVED)
        for process in self.processes:
            process.want(next(self.guilds))
        await self.world.beat()
        await self.world.beat()
        assert [len(process.calls) for process in self.processes] == [1, 1, 1]
