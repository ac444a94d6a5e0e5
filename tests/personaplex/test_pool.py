"""Leases on servers: one call each, the healthy first, never two connections."""

import asyncio

import pytest

from discordplex.clock import SystemClock
from discordplex.config import PersonaPlexConfig
from discordplex.engine import NO_RECAP, EngineProvider, MovableLease, Recap, RecapTurn, servers_of
from discordplex.errors import ConfigError, EngineError, LocalProtocolError
from discordplex.loopback.clock import FakeClock, settle
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import Connected, ConversationClosed, PromptsLoading
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.metrics import Metrics
from discordplex.personaplex import dialing
from discordplex.personaplex.endpoint import VOICES, Endpoint
from discordplex.personaplex.engine import ServerReport
from discordplex.personaplex.pool import FIRST_PAUSE_S, LONGEST_PAUSE_S, PersonaPlexLease, PersonaPlexPool, Server
from tests.personaplex.harness import PERSONA

DEAD = "ws://127.0.0.1:1/api/chat"


def pool_of(*urls: str, clock: FakeClock | None = None, handshake_timeout_s: float = 60.0) -> PersonaPlexPool:
    # Around the configuration's own check, which refuses some spellings that the pool understands.
    config = PersonaPlexConfig.model_construct(
        urls=urls, handshake_timeout_s=handshake_timeout_s, verify_tls=True, memory_s=240.0, recap_tokens=80
    )
    return PersonaPlexPool(config, clock=clock or SystemClock())


def taken(pool: PersonaPlexPool) -> PersonaPlexLease:
    lease = pool.acquire()
    assert lease is not None
    return lease


async def failing(lease: PersonaPlexLease) -> EngineError:
    with pytest.raises(EngineError) as caught:
        async with lease.open(PERSONA, Metrics()):
            pass
    return caught.value


def test_each_server_carries_one_call() -> None:
    """Two servers give two leases and then none, until one is given back; giving back twice frees one."""
    pool: EngineProvider = pool_of("a", "b")
    assert (pool.capacity, pool.free) == (2, 2)
    first, second = pool.acquire(), pool.acquire()
    assert first is not None
    assert second is not None
    assert {first.name, second.name} == {"ws://a:8998/api/chat", "ws://b:8998/api/chat"}
    assert pool.acquire() is None
    pool.release(first)
    pool.release(first)
    assert (pool.capacity, pool.free) == (2, 1)


def test_one_server_written_twice_is_one_server() -> None:
    """Two spellings of an address do not make two calls on it."""
    assert pool_of("ws://a:8998", "a", "http://a:8998/api/chat/").capacity == 1


@pytest.mark.parametrize("urls", [(), ("ftp://a",), ("a", "ws://b?seed=4")])
def test_addresses_are_checked_at_the_door(urls: tuple[str, ...]) -> None:
    """What cannot be a server is a configuration error, told before anything else happens."""
    with pytest.raises(ConfigError, match=r"personaplex\.urls"):
        pool_of(*urls)


def test_personas_are_checked_for_the_server() -> None:
    """The pool knows the model's voices, and refuses what the server would die of."""
    pool = pool_of("a")
    assert pool.voices == VOICES
    assert pool.check("NATF0.pt", "You are kind.") is None
    assert "did you mean NATF0.pt" in str(pool.check("NATF0", "You are kind."))
    assert "empty" in str(pool.check("NATF0.pt", " "))


async def test_a_lease_opens_one_conversation_after_another() -> None:
    """The next one may begin when the last has closed, and not earlier."""
    async with StandInServer("echo") as server:
        lease = taken(pool_of(server.url))
        async with lease.open(PERSONA, Metrics()):
            with pytest.raises(LocalProtocolError):
                lease.open(PERSONA, Metrics())
        async with lease.open(PERSONA, Metrics()):
            assert len(server.log.of(Connected)) == 2


async def test_two_engines_of_one_lease_never_connect_at_once() -> None:
    """Even engines that were made together open one at a time."""
    async with StandInServer("echo") as server:
        lease = taken(pool_of(server.url))
        first, second = lease.open(PERSONA, Metrics()), lease.open(PERSONA, Metrics())
        async with first:
            with pytest.raises(LocalProtocolError):
                await second.__aenter__()
        assert len(server.log.of(Connected)) == 1


async def test_a_server_is_free_when_its_socket_is_closed() -> None:
    """A lease given back too early does not let a second connection in."""
    async with StandInServer("echo") as server:
        pool = pool_of(server.url)
        lease = taken(pool)
        async with lease.open(PERSONA, Metrics()):
            pool.release(lease)
            assert pool.free == 0
            assert pool.acquire() is None
        await server.log.wait_for(lambda log: log.of(ConversationClosed))
        assert pool.free == 1
        with pytest.raises(LocalProtocolError):
            lease.open(PERSONA, Metrics())


async def test_a_failed_opening_leaves_the_server_free() -> None:
    """Refused, or cancelled in the middle: the next conversation can be opened."""
    async with StandInServer("echo", faults=Faults(http_status=503)) as server:
        lease = taken(pool_of(server.url))
        assert "reports an error" in str(await failing(lease))
        server.faults = Faults()
        opening = asyncio.create_task(lease.open(PERSONA, Metrics()).__aenter__())
        await server.log.wait_for(lambda log: log.of(Connected))
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with lease.open(PERSONA, Metrics()):
            pass


async def test_a_failed_server_is_not_given_while_another_is_well() -> None:
    """Set aside, it waits for its pause, even while the others are taken; then it is given again."""
    clock = FakeClock()
    pool = pool_of(DEAD, "b", clock=clock)
    lease = taken(pool)
    assert lease.name == DEAD
    error = await failing(lease)
    assert "No PersonaPlex server answers" in str(error)
    pool.release(lease)
    assert (pool.free, pool.busy) == (1, 0)
    healthy = taken(pool)
    assert healthy.name == "ws://b:8998/api/chat"
    assert (pool.free, pool.busy, pool.acquire()) == (0, 1, None)
    await clock.advance(FIRST_PAUSE_S)
    assert pool.free == 1
    assert taken(pool).name == DEAD


async def test_where_all_have_failed_they_are_given_all_the_same() -> None:
    """People then hear what is wrong, not that everything is busy; the one that is back soonest comes first."""
    pool = pool_of(DEAD, "ws://127.0.0.1:2/api/chat", clock=FakeClock())
    first, second = taken(pool), taken(pool)
    await failing(first)
    await failing(first)
    await failing(second)
    pool.release(first)
    pool.release(second)
    assert pool.free == 2
    assert taken(pool).name == second.name


async def test_a_lease_is_moved_before_its_next_try() -> None:
    """It leaves a failed server for one that became free, once, and not a healthy one for another."""
    pool = pool_of(DEAD, "b", "c", clock=FakeClock())
    lease, other, third = taken(pool), taken(pool), taken(pool)
    assert isinstance(lease, MovableLease)
    await failing(lease)
    assert not lease.relocate(), "nothing is free"
    pool.release(other)
    pool.release(third)
    assert lease.relocate()
    assert lease.name == "ws://b:8998/api/chat"
    assert not lease.relocate()
    assert (pool.capacity, pool.free) == (3, 1)
    pool.release(lease)
    assert not lease.relocate()
    assert pool.free == 2


async def test_a_lease_moves_to_a_server_that_is_well() -> None:
    """The next try of a call whose server died goes to another one that is free, and the dead one is free for who wants it."""
    async with StandInServer("echo") as server:
        pool = pool_of(DEAD, server.url)
        lease = taken(pool)
        await failing(lease)
        async with lease.open(PERSONA, Metrics()):
            assert lease.name == server.url
            assert (pool.capacity, pool.free, pool.busy) == (2, 0, 1)
        pool.release(lease)
        assert pool.free == 1


async def test_a_lease_stays_where_nothing_better_is_free() -> None:
    """With every other server taken the same one is tried again."""
    pool = pool_of(DEAD, "b")
    lease, other = taken(pool), taken(pool)
    await failing(lease)
    lease.open(PERSONA, Metrics())
    assert (lease.name, other.name) == (DEAD, "ws://b:8998/api/chat")


def test_an_operator_sees_which_server_works() -> None:
    """Who holds it, how often it has failed, and for how long it is left alone."""
    clock = FakeClock()
    pool = pool_of("a", "b", clock=clock)
    lease = taken(pool)
    assert [(one.capacity, one.busy, one.failed) for one in servers_of(pool)] == [(1, 1, False), (1, 0, False)]
    pool._servers[1].report(ServerReport.FAILED, clock.now())
    assert [(one.busy, one.failures, one.retry_in_s) for one in servers_of(pool)] == [(1, 0, 0.0), (0, 1, FIRST_PAUSE_S)]
    assert [one.address for one in servers_of(pool)] == ["ws://a:8998/api/chat", "ws://b:8998/api/chat"]
    pool.release(lease)
    assert not any(one.busy for one in servers_of(pool))


def test_pauses_grow_until_a_server_has_served() -> None:
    """Each failure doubles the pause, up to a limit; ten seconds of its audio make it as new."""
    server = Server(Endpoint.parse("a"))
    pauses = []
    for _ in range(20):
        server.report(ServerReport.FAILED, 100.0)
        pauses.append(server.paused_until - 100.0)
    assert pauses[:4] == [FIRST_PAUSE_S, FIRST_PAUSE_S * 2, FIRST_PAUSE_S * 4, FIRST_PAUSE_S * 8]
    assert pauses[-1] == LONGEST_PAUSE_S
    server.report(ServerReport.SERVED, 100.0)
    assert server.paused_until < 0
    server.report(ServerReport.FAILED, 100.0)
    assert server.paused_until == 100.0 + FIRST_PAUSE_S


async def test_a_busy_server_is_told_by_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's call on the same server: connected, no handshake, and the deadline says so."""
    monkeypatch.setattr(dialing, "CLOSE_TIMEOUT_S", 0.05)
    async with StandInServer("echo", prompt_step_ms=0) as server, taken(pool_of(server.url)).open(PERSONA, Metrics()):
        config = PersonaPlexConfig(urls=(server.url,), handshake_timeout_s=0.1)
        clock = FakeClock()
        lease = taken(PersonaPlexPool(config, clock=clock))
        opening = asyncio.create_task(failing(lease))
        await server.log.wait_for(lambda log: len(log.of(Connected)) == 2)
        await clock.advance(30)
        error = await opening
    assert "busy with another call" in str(error)
    assert error.retry


async def late(lease: PersonaPlexLease, clock: FakeClock, server: StandInServer, waited_s: float) -> None:
    """One try is given up after exactly `waited_s`."""
    tries = len(server.log.of(PromptsLoading))
    opening = asyncio.create_task(failing(lease))
    await server.log.wait_for(lambda log: len(log.of(PromptsLoading)) > tries)
    await clock.advance(waited_s - 0.01)
    assert not opening.done()
    await clock.advance(0.02)
    assert f"was not ready within {waited_s:.0f} s" in str(await opening)
    await server.log.wait_for(lambda log: len(log.of(ConversationClosed)) > tries)


async def test_the_handshake_s_time_is_obeyed_and_grows_with_each_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 s are 3 s. A try begins anew, so each one after a late one waits longer, until the server is ready in time again."""
    monkeypatch.setattr(dialing, "CLOSE_TIMEOUT_S", 0.05)
    clock = FakeClock()
    async with StandInServer("echo", prompt_step_ms=0, faults=Faults(no_handshake=True)) as server:
        lease = taken(pool_of(server.url, clock=clock, handshake_timeout_s=3.0))
        for waited_s in (3, 6, 12, 12):
            await late(lease, clock, server, waited_s)
        server.faults = Faults()
        async with lease.open(PERSONA, Metrics()):
            pass
        server.faults = Faults(no_handshake=True)
        await late(lease, clock, server, 3)


async def test_a_spare_server_counts_as_free_and_is_taken_back_for_a_call() -> None:
    """A newcomer gets it at once, and connects when the conversation in it has left: never two connections."""
    async with StandInServer("echo") as one, StandInServer("echo") as two:
        pool = pool_of(one.url, two.url)
        lease, lost = taken(pool), asyncio.Event()
        spare = lease.spare(lost.set)
        assert spare is not None
        assert (pool.free, pool.busy) == (1, 2)
        assert lease.spare(lost.set) is None
        next_one = await spare.open(PERSONA, Metrics()).__aenter__()
        newcomer = taken(pool)
        assert lost.is_set()
        assert pool.free == 0
        with pytest.raises(LocalProtocolError):
            spare.open(PERSONA, Metrics())
        opening = asyncio.create_task(newcomer.open(PERSONA, Metrics()).__aenter__())
        await settle()
        assert len(two.log.of(Connected)) == 1
        await next_one.__aexit__(None, None, None)
        newcomers = await opening
        kinds = [type(record) for record in two.log if isinstance(record, Connected | ConversationClosed)]
        assert kinds == [Connected, ConversationClosed, Connected]
        spare.give_back()
        spare.adopt()
        assert lease.name == one.url
        await newcomers.__aexit__(None, None, None)


async def test_an_adopted_server_is_the_leases_and_the_old_one_is_free_at_once() -> None:
    """Who gets the old one waits until its socket has closed."""
    async with StandInServer("echo") as one, StandInServer("echo") as two:
        pool = pool_of(one.url, two.url)
        lease = taken(pool)
        old = await lease.open(PERSONA, Metrics()).__aenter__()
        spare = lease.spare(lambda: None)
        assert spare is not None
        new = await spare.open(PERSONA, Metrics()).__aenter__()
        spare.adopt()
        assert (lease.name, pool.free) == (two.url, 1)
        newcomer = taken(pool)
        opening = asyncio.create_task(newcomer.open(PERSONA, Metrics()).__aenter__())
        await settle()
        await old.__aexit__(None, None, None)
        other = await opening
        assert newcomer.name == one.url
        for engine in (new, other):
            await engine.__aexit__(None, None, None)
        pool.release(lease)
        assert pool.free == 1


async def test_a_newcomer_who_gives_up_waiting_leaves_the_server_free() -> None:
    """And a spare slot that is given back while its conversation closes is free for the next."""
    async with StandInServer("echo") as one, StandInServer("echo") as two:
        pool = pool_of(one.url, two.url)
        lease = taken(pool)
        spare = lease.spare(lambda: None)
        assert spare is not None
        async with spare.open(PERSONA, Metrics()):
            spare.give_back()
            newcomer = taken(pool)
            opening = asyncio.create_task(newcomer.open(PERSONA, Metrics()).__aenter__())
            await settle()
            opening.cancel()
            await asyncio.wait({opening})
            pool.release(newcomer)
            assert pool.free == 1
        assert pool.busy == 1
        pool.release(lease)
        assert (pool.free, pool.busy) == (2, 0)


async def test_only_a_server_that_works_is_a_spare_slot() -> None:
    """One that has just failed is none; a call whose server fails takes another call's spare slot, and never its own."""
    async with StandInServer("echo") as server:
        pool = pool_of(DEAD, server.url)
        lease = taken(pool)
        await failing(lease)
        other = taken(pool)
        assert (lease.name, other.name) == (DEAD, server.url)
        assert other.spare(lambda: None) is None
        pool.release(other)
        spare = lease.spare(lambda: None)
        assert spare is not None
        assert not lease.relocate()
        spare.give_back()
        assert lease.relocate()
        pool.release(lease)


async def test_a_failed_call_takes_the_spare_slot_of_another_one() -> None:
    """A call without an engine goes before one that prepares its next."""
    pool = pool_of("a", "b", DEAD)
    first, second, failed = (taken(pool) for _ in range(3))
    pool.release(second)
    lost = asyncio.Event()
    assert first.spare(lost.set) is not None
    await failing(failed)
    assert failed.relocate()
    assert lost.is_set()
    assert failed.name == "ws://b:8998/api/chat"


async def test_a_recap_is_in_the_query() -> None:
    """A new conversation of a call has voice, role and what was said; its memory is shorter by the words."""
    async with StandInServer("echo") as server:
        pool = PersonaPlexPool(PersonaPlexConfig(urls=(server.url,), memory_s=20), clock=SystemClock())
        lease = taken(pool)
        memories = []
        for recap in (NO_RECAP, Recap((RecapTurn("Good evening."),))):
            async with lease.open(PERSONA, Metrics(), recap) as engine:
                memories.append(engine.caps.memory_s or 0)
        plain, told = (connected.query["text_prompt"] for connected in server.log.of(Connected))
        assert plain == PERSONA.text_prompt
        assert told == f'{plain} Information: You have talked for a while. You said: "Good evening."'
        assert 19 < memories[1] < memories[0] < 20
