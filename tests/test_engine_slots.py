"""Slots that several processes share, as the providers of numbered slots and of several kinds use them; and those of one process."""

from pydantic import SecretStr

from discordplex.cascade.provider import CascadeProvider
from discordplex.config import CascadeConfig, PersonaPlexConfig, RealtimeConfig
from discordplex.engine import BUSY, Closed, EngineReady, Persona, servers_of
from discordplex.engine_choice import FIRST_PAUSE_S, OUT_OF_USE_S, SERVED_S, ChosenLease, EngineChoice, EngineOption
from discordplex.engine_slots import AskingLease, EngineSlots, OwnSlots, RevocableSlot, SharedProvider, SlotProvider
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.metrics import Metrics
from discordplex.overview import EngineServer
from discordplex.personaplex.engine import ServerReport
from discordplex.personaplex.pool import PersonaPlexPool
from discordplex.realtime.provider import LEARNED_S, RealtimeLease, RealtimeProvider
from tests.realtime.harness import KEY, PERSONA
from tests.shared_slots import Bot, SharedRows

PLEX = "personaplex:ws://a:8998/api/chat"


class Process(Bot[EngineChoice, ChosenLease]):
    """One process with a PersonaPlex server and a cascade for so many calls; the former is preferred."""

    def __init__(self, rows: SharedRows, *, cascades: int) -> None:
        super().__init__(rows, ["personaplex", "cascade"])
        self.pool = PersonaPlexPool(PersonaPlexConfig(urls=("ws://a:8998",)), clock=rows.clock, slots=self.slots)
        self.cascade = CascadeProvider(CascadeConfig(max_calls=cascades), clock=rows.clock, slots=self.slots)
        options = [
            EngineOption("personaplex", self.pool, Persona("NATF0.pt", "You are Ann.")),
            EngineOption("cascade", self.cascade, Persona("nova", "You are Ann.")),
        ]
        self.provider = EngineChoice(options, voices={}, clock=rows.clock, slots=self.slots)


class RealtimeProcess(Bot[RealtimeProvider, RealtimeLease]):
    """One process with a Realtime server."""

    def __init__(self, rows: SharedRows, url: str, *, sessions: int) -> None:
        super().__init__(rows, ["realtime"])
        self.provider = RealtimeProvider(
            RealtimeConfig(url=url, api_key=SecretStr(KEY), max_calls=sessions), clock=rows.clock, slots=self.slots
        )


def two_processes(*, cascades: int = 1) -> tuple[SharedRows, Process, Process]:
    """Two processes with the same engines."""
    rows = SharedRows()
    processes = Process(rows, cascades=cascades), Process(rows, cascades=cascades)
    rows.beat()
    return rows, *processes


def is_replaceable(lease: ChosenLease) -> bool:
    """As it is now."""
    return lease.is_replaceable


async def test_a_process_of_its_own_may_take_every_slot_at_any_time() -> None:
    """Nothing has to be wanted, and no answer is waited for."""
    slots: EngineSlots = OwnSlots()
    assert not slots.shared
    assert slots.may_take("cascade:1", "spare")
    assert not slots.is_elsewhere("cascade:1")
    assert not slots.may_be_busy("cascade:1")
    slots.want("rescue", wisher := object(), ("cascade",))
    assert not slots.is_pending("rescue", wisher)
    await slots.answered("rescue", wisher)


async def test_the_slots_of_all_processes_are_the_ports() -> None:
    """Whoever asks whether something can be shared gets the right answer."""
    rows, one, _ = two_processes()
    slots: EngineSlots = one.slots
    assert slots.shared
    assert isinstance(one.provider, SharedProvider)
    for provider in (one.pool, one.cascade, RealtimeProvider(RealtimeConfig(), clock=rows.clock)):
        assert isinstance(provider, SlotProvider)
    assert isinstance(one.call(7), AskingLease)
    assert one.provider.kinds(lambda: True) == ("personaplex", "cascade")


def test_calls_of_all_processes_have_the_preferred_kind_first_and_no_more_than_there_are() -> None:
    """The third one waits, wherever it is, until one of the others ends. A number counts for the whole bot."""
    rows, one, two = two_processes()
    first, second = one.call(1), two.call(2)
    assert [lease.info.description for lease in (first, second)] == [one.pool.info.description, one.cascade.info.description]
    assert second.stand_in is not None
    assert second.stand_in.reason == "busy"
    one.want(3)
    rows.beat()
    assert 3 in one.waiting
    assert (one.provider.capacity, one.provider.free) == (2, 0)
    assert [[server.busy for server in servers_of(process.provider)] for process in (one, two)] == [[1, 1], [1, 1]]
    two.end(2)
    rows.beat()
    assert one.calls[3].name == second.name
    one.end(1)
    one.end(3)
    rows.beat()
    assert not rows.holders


async def test_a_call_that_lost_its_engine_gets_one_of_another_kind_before_new_calls() -> None:
    """It asks, and knows the answer; what it had is free for others."""
    rows, one, two = two_processes()
    lease, other = one.call(1), two.call(2)
    one.pool.report(one.pool._servers[0], ServerReport.FAILED)
    assert not await lease.find_another(of_any_kind=True)
    assert not is_replaceable(lease)
    assert not lease.replace()
    two.end(2)
    two.want(3)
    rows.beat()
    assert 3 in two.waiting
    assert not await lease.find_another(of_any_kind=True), "of its own kind"
    assert is_replaceable(lease)
    assert lease.replace()
    rows.beat()
    assert lease.name == other.name
    assert rows.holders["cascade:1"] == one.name
    assert two.calls[3].info.description == one.pool.info.description, "where nothing works, people hear what is wrong"
    assert two.calls[3].stand_in is None


async def test_an_engine_of_another_kind_that_is_wanted_is_there_a_moment_later() -> None:
    """Whoever cannot wait asks again; nothing is wanted by merely asking."""
    rows, one, _ = two_processes()
    lease = one.call(1)
    for _ in range(2):
        assert not is_replaceable(lease)
        rows.beat()
    lease.want_another(of_any_kind=True)
    pending = lease.awaits_replacement
    rows.beat()
    assert (pending, lease.awaits_replacement, is_replaceable(lease)) == (True, False, True)
    await rows.advance(3.0)
    assert not is_replaceable(lease)
    assert len(rows.holders) == 1


async def test_a_call_returns_to_the_preferred_kind_if_nobody_needs_it() -> None:
    """The slot is granted a moment later, and taken back while it is a spare one; adopted, it is the call's."""
    rows, one, two = two_processes()
    first, lease = two.call(1), one.call(2)
    assert first.name != lease.name
    told: list[str] = []

    def slot() -> RevocableSlot | None:
        found = lease.preferred_slot(lambda: told.append("lost"))
        if found is not None:
            found.on_taken_back = lambda: told.append("taken back")
        return found

    assert slot() is None
    two.end(1)
    rows.beat()
    found = slot()
    assert found is not None
    assert isinstance(found, RevocableSlot)
    assert rows.slot(PLEX).purpose == "spare"
    two.want(3)
    rows.beat()
    assert told == ["taken back", "lost"]
    assert found.is_over
    rows.beat()
    assert two.calls[3].name == first.name
    two.end(3)
    await rows.advance(FIRST_PAUSE_S)
    assert slot() is None
    rows.beat()
    found = slot()
    assert found is not None
    found.adopt()
    two.want(4)
    rows.beat()
    assert (lease.name, lease.stand_in) == (first.name, None)
    assert two.calls[4].info.description == one.cascade.info.description
    assert rows.slot(PLEX).purpose == "call"


async def test_a_kind_that_one_process_lost_is_avoided_by_all() -> None:
    """Until a call of the same process has had it for a while."""
    rows, one, two = two_processes(cascades=4)
    one.call(1)
    lease = one.call(2)
    two.pool.report(two.pool._servers[0], ServerReport.SERVED)
    one.end(1)
    lease.want_another(of_any_kind=True)
    rows.beat()
    assert lease.replace()
    rows.beat()
    assert (two.cascade.free, two.cascade.working_for("call")) == (0, 0)
    assert all(rows.slot(f"cascade:{number}").failures == 1 for number in range(1, 5))
    two.frozen = True
    two.want(3)
    rows.beat()
    two.beat_now()
    assert (two.provider.free, two.provider.working) == (1, 0)
    two.frozen = False
    two.serve()
    await rows.advance(OUT_OF_USE_S)
    served = one.call(4)
    await rows.advance(SERVED_S)
    one.provider.release(served)
    rows.beat()
    assert all(rows.slot(f"cascade:{number}").failures == 0 for number in range(1, 5))


async def test_a_lost_slot_ends_its_conversation() -> None:
    """Of the cascade, too; a conversation that is opened later on that lease ends as well."""
    rows, one, two = two_processes()
    one.call(1)
    lease = one.call(2)
    engine = lease.open(Persona("nova", "You are Ann."), Metrics())
    two.want(3)
    two.want(4)
    await one.freeze()
    one.beat_now()
    lost = lease.open(Persona("nova", "You are Ann."), Metrics())
    for one_engine in (engine, lost):
        events = [event async for event in one_engine.events() if not isinstance(event, EngineReady)]
        assert isinstance(events[0], Closed)
        assert (events[0].cause, events[0].retry) == (BUSY, False)
    one.end(2)
    one.frozen = False
    rows.beat()
    assert set(rows.holders.values()) == {two.name}


async def test_a_full_realtime_server_is_full_for_all_processes() -> None:
    """It has as many sessions as all have together; after a while one more is tried, by one of them."""
    async with RealtimeServer(key=KEY) as server:
        rows = SharedRows()
        one, two = RealtimeProcess(rows, server.url, sessions=4), RealtimeProcess(rows, server.url, sessions=4)
        rows.beat()
        async with one.call(1).open(PERSONA, Metrics()), two.call(2).open(PERSONA, Metrics()):
            rows.beat()
            assert (one.provider.capacity, two.provider.capacity) == (4, 4)
            one.want(3)
            rows.beat()
            one.provider.is_full()
            one.end(3)
            two.want(4)
            two.want(5)
            rows.beat()
            assert (one.provider.capacity, two.provider.capacity, two.provider.free) == (2, 2, 0)
            assert servers_of(two.provider) == [EngineServer(two.provider.info.description, 2, 2)]
            await rows.advance(LEARNED_S + 1)
            assert len(two.calls) == 2
            assert len(two.waiting) == 1
