"""PersonaPlex servers that several processes share: the real pools on real stand-ins, with one beat after the other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from discordplex.config import PersonaPlexConfig
from discordplex.engine import BUSY, Closed, EngineEvent, VoiceEngine
from discordplex.engine_slots import AskingLease, SlotProvider
from discordplex.errors import EngineError
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import Connected, ConversationClosed
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.metrics import Metrics
from discordplex.personaplex import dialing
from discordplex.personaplex.pool import BUSY_AFTER_S, BUSY_PAUSE_S, FIRST_PAUSE_S, PersonaPlexLease, PersonaPlexPool
from tests.personaplex.chaos import Chaos, PoolProcess
from tests.personaplex.harness import PERSONA
from tests.shared_slots import Bot, SharedRows

A, B, C = (f"ws://{host}:8998/api/chat" for host in "abc")
DEAD = "ws://127.0.0.1:1/api/chat"


class Process(Bot[PersonaPlexPool, PersonaPlexLease]):
    """One process of the bot with these servers."""

    def __init__(self, rows: SharedRows, *urls: str) -> None:
        super().__init__(rows, ["personaplex"])
        self.provider = PersonaPlexPool(PersonaPlexConfig(urls=urls), clock=rows.clock, slots=self.slots)


def two_processes(*urls: str) -> tuple[SharedRows, Process, Process]:
    """Two processes with the same servers."""
    rows = SharedRows()
    return rows, Process(rows, *urls), Process(rows, *urls)


async def connections(server: StandInServer, number: int) -> None:
    """Wait until a server has seen so many."""
    await server.log.wait_for(lambda log: len(log.of(Connected)) == number)


async def last_of(engine: VoiceEngine) -> EngineEvent:
    """The last event of a conversation."""
    events = [event async for event in engine.events()]
    return events[-1]


@asynccontextmanager
async def two_servers() -> AsyncIterator[tuple[StandInServer, StandInServer]]:
    async with StandInServer("echo", step_ms=0, prompt_step_ms=0) as one, StandInServer("echo", step_ms=0, prompt_step_ms=0) as two:
        yield one, two


def test_a_server_is_one_process_s_until_it_is_given_back() -> None:
    """Nobody may take it without a wish, and the other process sees that it is busy."""
    rows, one, two = two_processes(A, B)
    assert isinstance(one.provider, SlotProvider)
    assert one.provider.kinds(lambda: False) == ("personaplex",)
    rows.beat()
    assert (one.provider.capacity, one.provider.free, one.provider.acquire()) == (2, 0, None)
    one.want(7)
    one.frozen = True
    rows.beat()
    one.beat_now()
    assert (one.provider.free, one.provider.working, two.provider.free) == (1, 1, 0)
    one.frozen = False
    one.serve()
    assert (one.provider.free, one.provider.acquire()) == (0, None)
    rows.beat()
    assert [[server.busy for server in process.provider.servers] for process in (one, two)] == [[1, 0], [1, 0]]
    one.end(7)
    rows.beat()
    assert [server.busy for server in two.provider.servers] == [0, 0]
    assert not rows.holders


async def test_a_server_is_given_back_when_its_socket_has_closed() -> None:
    """A lease that is released too early does not let another process in."""
    async with two_servers() as (server, _):
        rows, one, two = two_processes(server.url)
        engine = await one.call(7).open(PERSONA, Metrics()).__aenter__()
        one.end(7)
        two.want(8)
        rows.beat()
        assert not two.calls
        await engine.__aexit__(None, None, None)
        rows.beat()
        async with two.calls[8].open(PERSONA, Metrics()):
            assert len(server.log.of(Connected)) == 2
        assert server.log.of(ConversationClosed)


async def test_a_spare_server_is_asked_back_for_a_call_of_another_process() -> None:
    """It is left at once, and granted when its socket has closed."""
    async with two_servers() as servers:
        rows, one, two = two_processes(*(server.url for server in servers))
        lease, lost = one.call(7), asyncio.Event()
        assert lease.spare(lost.set) is None
        before = lease.awaits_spare
        rows.beat()
        assert (before, lease.awaits_spare) == (True, False)
        assert (one.provider.free, one.provider.acquire()) == (0, None), "what was granted as a spare slot is not for a new call"
        spare = lease.spare(lost.set)
        assert spare is not None
        engine = await spare.open(PERSONA, Metrics()).__aenter__()
        assert sum(server.busy for server in one.provider.servers) == 1
        two.want(8)
        rows.beat()
        assert lost.is_set()
        assert not two.calls
        await engine.__aexit__(None, None, None)
        rows.beat()
        assert two.calls[8].name == spare.name
        spare.adopt()
        assert lease.name != spare.name
        assert lease.spare(lost.set) is None
        assert len(rows.holders) == 2


async def test_an_adopted_server_is_not_asked_back_and_the_old_one_is_free() -> None:
    """As soon as the old conversation has left."""
    async with two_servers() as servers:
        rows, one, two = two_processes(*(server.url for server in servers))
        lease = one.call(7)
        old = await lease.open(PERSONA, Metrics()).__aenter__()
        lease.spare(lambda: None)
        rows.beat()
        spare = lease.spare(lambda: None)
        assert spare is not None
        new = await spare.open(PERSONA, Metrics()).__aenter__()
        spare.adopt()
        two.want(8)
        rows.beat()
        assert not two.calls
        assert [slot.purpose for slot in rows.snapshot.slots.values()] == ["call", "call"]
        await old.__aexit__(None, None, None)
        rows.beat()
        assert {lease.name, two.calls[8].name} == {server.url for server in servers}
        await new.__aexit__(None, None, None)
        one.end(7)
        two.end(8)
        rows.beat()
        assert not rows.holders


async def test_a_spare_server_that_nobody_takes_is_given_back() -> None:
    """Its wish lapses when it is not repeated."""
    rows, one, _ = two_processes(A, B)
    one.call(7).spare(lambda: None)
    rows.beat()
    assert len(rows.holders) == 2
    await rows.advance(3.0)
    assert len(rows.holders) == 1


async def test_a_conversation_on_a_lost_server_ends_at_once() -> None:
    """The process was frozen for so long that another one has its server. It has not failed; people go back to the queue."""
    async with two_servers() as (server, _):
        rows, one, two = two_processes(server.url)
        lease = one.call(7)
        engine = await lease.open(PERSONA, Metrics()).__aenter__()
        two.want(8)
        await one.freeze()
        assert list(rows.holders.values()) == [two.name]
        one.beat_now()
        ended = await last_of(engine)
        assert isinstance(ended, Closed)
        assert (ended.retry, ended.cause) == (False, BUSY)
        await server.log.wait_for(lambda log: log.of(ConversationClosed))
        await engine.__aexit__(None, None, None)
        with pytest.raises(EngineError) as refused:
            await lease.open(PERSONA, Metrics()).__aenter__()
        assert refused.value.cause == BUSY
        assert len(server.log.of(Connected)) == 1
        one.end(7)
        one.frozen = False
        rows.beat()
        assert [one.failures for one in two.provider.servers] == [0]
        assert list(rows.holders.values()) == [two.name]


async def test_an_opening_on_a_lost_server_is_given_up() -> None:
    """Also while the server loads the prompts."""
    async with StandInServer("echo", faults=Faults(no_handshake=True), prompt_step_ms=0) as server:
        _, one, two = two_processes(server.url)
        opening = asyncio.create_task(one.call(7).open(PERSONA, Metrics()).__aenter__())
        await server.log.wait_for(lambda log: log.of(Connected))
        two.want(8)
        await one.freeze()
        one.beat_now()
        with pytest.raises(EngineError) as refused:
            await opening
        assert refused.value.cause == BUSY
        await server.log.wait_for(lambda log: log.of(ConversationClosed))


async def test_a_lost_spare_server_is_left_at_once() -> None:
    """The call goes on without it."""
    rows, one, two = two_processes(A, B)
    lease, lost = one.call(7), asyncio.Event()
    lease.spare(lost.set)
    rows.beat()
    assert lease.spare(lost.set) is not None
    two.want(8)
    two.want(9)
    await one.freeze()
    one.beat_now()
    assert lost.is_set()
    assert len(two.calls) == 2


async def test_a_server_that_its_vanished_process_keeps_busy_is_told_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not failed: it is left alone for a short while, and its people wait in the queue."""
    monkeypatch.setattr(dialing, "CLOSE_TIMEOUT_S", 0.05)
    async with two_servers() as (server, _):
        rows, one, two = two_processes(server.url)
        async with one.call(7).open(PERSONA, Metrics()):
            two.want(8)
            await one.freeze()
            for tries in (1, 2):
                opening = asyncio.create_task(two.calls[8].open(PERSONA, Metrics()).__aenter__())
                await connections(server, 1 + tries)
                await rows.advance(tries * BUSY_AFTER_S + 0.1)
                with pytest.raises(EngineError) as busy:
                    await opening
                assert (busy.value.cause, busy.value.retry) == (BUSY, True)
                two.end(8)
                two.want(8)
                rows.beat()
                assert [(one.failures, one.failed) for one in two.provider.servers] == [(0, True)]
                assert not two.calls
                await rows.advance(BUSY_PAUSE_S + tries)
        async with two.calls[8].open(PERSONA, Metrics()):
            assert [server.failed for server in two.provider.servers] == [False]


async def test_what_one_process_learns_of_a_server_all_know() -> None:
    """The second process avoids what failed at the first, and its own failure counts on."""
    rows, one, two = two_processes(DEAD, A)
    lease = one.call(7)
    assert lease.name == DEAD
    with pytest.raises(EngineError):
        await lease.open(PERSONA, Metrics()).__aenter__()
    one.end(7)
    rows.beat()
    assert [(one.failures, one.failed) for one in two.provider.servers] == [(1, True), (0, False)]
    assert two.call(8).name == A
    two.want(9)
    rows.beat()
    assert 9 in two.waiting, "the healthy one is free sooner or later"
    await rows.advance(FIRST_PAUSE_S + 1)
    assert two.calls[9].name == DEAD
    with pytest.raises(EngineError):
        await two.calls[9].open(PERSONA, Metrics()).__aenter__()
    rows.beat()
    assert [(one.failures, one.retry_in_s) for one in one.provider.servers] == [(2, 2 * FIRST_PAUSE_S), (0, 0.0)]


async def test_a_call_whose_server_failed_gets_the_next_free_one_before_new_calls() -> None:
    """It asks, and has it when the answer is there; the failed server is given back."""
    rows, one, two = two_processes(DEAD, A)
    lease, _ = one.call(7), two.call(8)
    assert isinstance(lease, AskingLease)
    assert not await lease.find_another(of_any_kind=True), "it works"
    with pytest.raises(EngineError):
        await lease.open(PERSONA, Metrics()).__aenter__()
    assert not await lease.find_another(of_any_kind=True), "the other one has a call"
    two.want(3)
    two.end(8)
    rows.beat()
    assert not two.calls
    assert await lease.find_another(of_any_kind=True)
    assert lease.name == A
    rows.beat()
    assert rows.holders == {f"personaplex:{A}": one.name}, "people wait for it rather than for the failed one"
    assert not await lease.find_another(of_any_kind=True)


async def test_without_the_database_nothing_new_is_taken_and_nothing_is_waited_for_in_vain() -> None:
    """A running call keeps its server, and what it wanted is forgotten."""
    rows, one, _ = two_processes(A, B, C)
    lease = one.call(7)
    one.frozen = True
    one.want(8)
    one.beat_now()
    assert one.provider.free == 1
    rows.away = True
    await rows.advance(5.0)
    assert (one.provider.free, one.provider.acquire()) == (0, None), "it may be another process's meanwhile"
    awaited = []
    for _ in range(3):
        assert lease.spare(lambda: None) is None
        awaited.append(lease.awaits_spare)
        await rows.advance(1.0)
    assert awaited == [True, True, False]
    rows.away = one.frozen = False
    one.waiting.clear()
    rows.beat()
    assert lease.spare(lambda: None) is not None
    rows.beat()
    assert len(rows.holders) == 2
    one.end(7)
    rows.beat()
    assert not rows.holders


def test_a_server_s_slot_is_named_without_secrets() -> None:
    """And in the same way in every process."""
    rows = SharedRows()
    Process(rows, "ws://user:secret@gateway:1/chat?key=secret")
    rows.beat()
    assert list(rows.snapshot.slots) == ["personaplex:ws://gateway:1/chat"]


class RowsInMemory:
    """Three processes on rows in memory."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.rows = SharedRows()
        self.processes = [Process(self.rows, *urls) for _ in range(3)]

    async def beat(self) -> None:
        self.rows.beat()

    async def advance(self, seconds: float) -> None:
        await self.rows.advance(seconds)

    async def freeze(self, process: PoolProcess, *, frozen: bool) -> None:
        process.frozen = frozen

    @property
    def holders(self) -> Mapping[str, str]:
        return self.rows.holders


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_a_server_has_one_connection_and_no_slot_is_lost(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls come and go, prepare and hand over, fail and move; processes freeze and wake."""
    monkeypatch.setattr(dialing, "CLOSE_TIMEOUT_S", 0.05)
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(StandInServer("echo", step_ms=0, prompt_step_ms=0)) for _ in range(3)]
        chaos = Chaos(seed, servers, RowsInMemory([server.url for server in servers]))
        for _ in range(60):
            await chaos.act()
            chaos.check()
        await chaos.end()
