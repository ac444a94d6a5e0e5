"""Who has a call, who waits, who is next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.bot.place import Place
from discordplex.bot.scheduling.registry import Asking, Elsewhere, Granted, Here, SessionRegistry, Soon, Waiting
from discordplex.queue_order import GuildCall, OwnQueue, WaitingChannel
from tests.bot.fakes import CountedEngines, Notebook

A1, A2, B1, C1 = Place(1, 11), Place(1, 12), Place(2, 21), Place(3, 31)


@pytest.fixture
def registry(engines: Callable[[int], CountedEngines]) -> SessionRegistry:
    return SessionRegistry(engines(1))


def everybody(place: Place) -> bool:
    return bool(place)


def test_the_first_gets_the_engine_the_others_their_number(registry: SessionRegistry) -> None:
    """First come, first served, and asking again neither loses nor improves a place."""
    assert isinstance(registry.request(A1), Granted)
    assert registry.request(A1) == Here()
    assert registry.request(B1) == Waiting(1)
    assert registry.request(C1) == Waiting(2)
    assert registry.request(B1) == Waiting(1)
    assert registry.queue == (B1, C1)


def test_an_ended_call_serves_the_next_who_still_waits(registry: SessionRegistry) -> None:
    """Whoever went away meanwhile is passed over and struck off."""
    for place in (A1, B1, C1):
        registry.request(place)
    assert registry.serve(everybody) is None
    registry.end(A1.guild_id)
    served = registry.serve(lambda place: place != B1)
    assert served is not None
    assert served.place == C1
    assert registry.queue == ()


def test_who_was_granted_an_engine_that_there_was_not_is_next(engines: Callable[[int], CountedEngines]) -> None:
    """They wait in front of everybody who has asked since, and are remembered so."""
    memory = Notebook()
    registry = SessionRegistry(engines(1), memory)
    for place in (A1, B1, C1):
        registry.request(place, 100)
    registry.end(A1.guild_id)
    registry.return_to_queue(A1, 100)
    assert registry.queue == (A1, B1, C1)
    assert list(memory.entries) == [A1, B1, C1]
    served = registry.serve(everybody)
    assert served is not None
    assert (served.place, served.asker) == (A1, 100)


def test_a_second_channel_of_a_guild_waits_for_its_own_guild(engines: Callable[[int], CountedEngines]) -> None:
    """It is told where the call is, and served when that ends, though another engine is free all the time."""
    registry = SessionRegistry(engines(2))
    registry.request(A1)
    assert registry.request(A2) == Elsewhere(A1.channel_id, 1)
    assert isinstance(registry.request(B1), Granted)
    registry.end(B1.guild_id)
    assert registry.serve(everybody) is None
    registry.ending(A1.guild_id)
    assert registry.request(A2) == Soon()
    registry.end(A1.guild_id)
    served = registry.serve(everybody)
    assert served is not None
    assert served.place == A2


def test_who_returns_while_the_call_is_torn_down_is_next(registry: SessionRegistry) -> None:
    """A call that ends cannot be entered any more; the same channel asks for a new one."""
    registry.request(A1)
    registry.ending(A1.guild_id)
    assert registry.request(A1) == Soon()
    assert registry.request(B1) == Waiting(2)
    registry.end(A1.guild_id)
    served = registry.serve(everybody)
    assert served is not None
    assert served.place == A1


def test_who_asks_again_while_the_call_is_torn_down_stays_on_record(engines: Callable[[int], CountedEngines]) -> None:
    """The end of the old call does not strike off those who wait for the next one."""
    memory = Notebook()
    registry = SessionRegistry(engines(1), memory)
    registry.request(A1, 7)
    registry.ending(A1.guild_id)
    registry.request(A1, 7)
    registry.end(A1.guild_id)
    assert memory.entries == {A1: 7}
    assert registry.withdraw(A1)
    assert memory.entries == {}


def test_a_call_that_moves_takes_its_new_channel_out_of_the_queue(registry: SessionRegistry) -> None:
    """Who waited there has the call now."""
    registry.request(A1)
    registry.request(A2)
    registry.move(A1.guild_id, A2.channel_id)
    assert registry.queue == ()
    assert registry.request(A2) == Here()


def test_nobody_overtakes_the_queue(engines: Callable[[int], CountedEngines]) -> None:
    """An engine that came back by itself goes to the first who waits, not to the one who happens to ask."""
    provider = engines(0)
    registry = SessionRegistry(provider)
    registry.request(A1)
    provider.capacity = 1
    assert registry.request(B1) == Waiting(2)
    served = registry.serve(everybody)
    assert served is not None
    assert served.place == A1


def test_a_lease_is_held_until_the_end_and_given_back_once(engines: Callable[[int], CountedEngines]) -> None:
    """Ending twice gives back once; who does not wait any more is gone."""
    provider = engines(1)
    registry = SessionRegistry(provider)
    registry.request(A1)
    registry.request(B1)
    registry.ending(A1.guild_id)
    assert provider.free == 0
    registry.end(A1.guild_id)
    registry.end(A1.guild_id)
    assert provider.free == 1
    assert registry.withdraw(B1)
    assert registry.queue == ()
    assert not registry.withdraw(B1)


PLACES = [Place(guild, guild * 10 + channel) for guild in range(1, 5) for channel in range(2)]


@given(
    capacity=st.integers(1, 3),
    steps=st.lists(st.tuples(st.sampled_from(["ask", "end", "withdraw", "serve", "ending"]), st.sampled_from(PLACES))),
)
def test_whatever_happens_the_books_balance(
    engines: Callable[[int], CountedEngines], capacity: int, steps: list[tuple[str, Place]]
) -> None:
    """No engine serves two calls, no guild has two, nobody both waits and talks, and every number is held by one."""
    provider = engines(capacity)
    memory = Notebook()
    registry = SessionRegistry(provider, memory)
    for step, place in steps:
        before = registry.queue
        if step == "ask":
            registry.request(place)
        elif step == "end":
            registry.end(place.guild_id)
        elif step == "withdraw":
            registry.withdraw(place)
        elif step == "serve":
            registry.serve(everybody)
        elif registry.call(place.guild_id):
            registry.ending(place.guild_id)
        assert registry.calls + provider.free == provider.capacity
        assert set(registry.queue) - set(before) <= {place}
        assert [registry.number(waiting) for waiting in registry.queue] == list(range(1, len(registry.queue) + 1))
        for waiting in registry.queue:
            call = registry.call(waiting.guild_id)
            assert call is None or call.ending or call.channel_id != waiting.channel_id
        talking = {Place(guild_id, call.channel_id) for guild_id in range(1, 5) if (call := registry.call(guild_id))}
        assert set(memory.entries) == talking | set(registry.queue)


# In turn


def test_guilds_are_served_in_turn(engines: Callable[[int], CountedEngines]) -> None:
    """Five channels of one guild take one place in a row, whoever asked first; of one guild's channels the first that asked goes first."""
    registry = SessionRegistry(engines(0))
    five = [Place(1, channel) for channel in range(11, 16)]
    for place in (*five, B1, C1):
        registry.request(place)
    assert registry.queue == (five[0], B1, C1, *five[1:])
    assert [registry.number(place) for place in (five[0], B1, C1, five[1])] == [1, 2, 3, 4]


def test_a_guild_that_had_its_turn_waits_for_the_others(engines: Callable[[int], CountedEngines]) -> None:
    """Its other channel asked before them, and talked all the time; those who come after its call has ended come after it."""
    registry = SessionRegistry(engines(1))
    for place in (A1, A2, B1):
        registry.request(place)
    assert list(registry.queue) == [B1, A2]
    registry.ending(A1.guild_id)
    registry.request(C1)
    assert list(registry.queue) == [B1, A2, C1]
    registry.end(A1.guild_id)
    served = registry.serve(everybody)
    assert served is not None
    assert served.place == B1


def test_one_channel_each_is_first_come_first_served(engines: Callable[[int], CountedEngines]) -> None:
    """Also when a call ended before and its guild asks again."""
    registry = SessionRegistry(engines(1))
    for place in (A1, B1):
        registry.request(place)
    registry.ending(A1.guild_id)
    registry.request(A1)
    registry.request(C1)
    registry.end(A1.guild_id)
    assert registry.queue == (B1, A1, C1)


@given(steps=st.lists(st.tuples(st.sampled_from(["ask", "ask", "end"]), st.sampled_from(PLACES)), max_size=60))
def test_nobody_is_passed_over_twice_by_the_same_guild(engines: Callable[[int], CountedEngines], steps: list[tuple[str, Place]]) -> None:
    """Between a guild's first asking and its call, each other guild gets one call at most; nobody starves, whatever comes new."""
    registry = SessionRegistry(engines(1))
    since: dict[int, dict[int, int]] = {}
    for step, place in steps:
        if step == "ask":
            answer = registry.request(place)
            if isinstance(answer, Granted):
                since.pop(place.guild_id, None)
            elif registry.call(place.guild_id) is None:
                since.setdefault(place.guild_id, {})
        elif registry.call(place.guild_id):
            registry.end(place.guild_id)
            for waiting in registry.queue:
                since.setdefault(waiting.guild_id, {})
            granted = registry.serve(everybody)
            if granted:
                since.pop(granted.place.guild_id, None)
                for passed in since.values():
                    passed[granted.place.guild_id] = passed.get(granted.place.guild_id, 0) + 1
        assert all(times == 1 for passed in since.values() for times in passed.values())


# Several processes


@dataclass
class SharedRows:
    """What a database says of the queue: each process writes its part, and sees the others' after `beat`."""

    parts: "list[PartOfQueue]" = field(default_factory=list)
    time: float = 100.0

    def beat(self) -> None:
        """Everybody writes, then everybody reads."""
        for part in self.parts:
            part.written = part.published
        for part in self.parts:
            part.seen = [one for other in self.parts if other is not part for one in other.written[0]]
            part.calls = [one for other in self.parts if other is not part for one in other.written[1]]
            part.registry.others_changed()


@dataclass(eq=False)
class PartOfQueue(OwnQueue):
    """One process's part: a `SharedQueue`."""

    rows: SharedRows
    provider: CountedEngines
    shared: bool = True
    reachable: bool = True
    published: tuple[Sequence[WaitingChannel], Sequence[GuildCall]] = ((), ())
    written: tuple[Sequence[WaitingChannel], Sequence[GuildCall]] = ((), ())
    seen: Sequence[WaitingChannel] = ()
    calls: Sequence[GuildCall] = ()

    def __post_init__(self) -> None:
        self.registry = SessionRegistry(self.provider, shared=self)
        self.rows.parts.append(self)

    def now(self) -> float:
        self.rows.time += 1
        return self.rows.time

    def publish(self, waiting: Sequence[WaitingChannel], calls: Sequence[GuildCall]) -> None:
        self.published = (list(waiting), list(calls))

    @property
    def waiting_elsewhere(self) -> Sequence[WaitingChannel]:  # type: ignore[override]
        return self.seen

    @property
    def calls_elsewhere(self) -> Sequence[GuildCall]:  # type: ignore[override]
        return self.calls

    def is_known(self, guild_id: int, channel_id: int) -> bool:
        return (guild_id, channel_id) in {(one.guild_id, one.channel_id) for one in self.written[0]}


def test_numbers_are_told_over_all_processes_when_they_are_known(engines: Callable[[int], CountedEngines]) -> None:
    """Nobody is "number 1" for a moment only because the others were not asked yet."""
    rows = SharedRows()
    here, there = PartOfQueue(rows, engines(0)), PartOfQueue(rows, engines(0))
    assert there.registry.request(B1) == Asking()
    assert here.registry.request(A1) == Asking()
    assert here.registry.number(A1) is None
    rows.beat()
    assert (there.registry.number(B1), here.registry.number(A1)) == (1, 2)
    assert here.registry.request(A1) == Waiting(2)
    assert (here.registry.queue, here.registry.length) == ((A1,), 2)
    assert here.registry.wanting_an_engine == 2


def test_a_granted_engine_begins_the_call(engines: Callable[[int], CountedEngines]) -> None:
    """The call counts everywhere, and its guild's other channel comes last."""
    rows = SharedRows()
    provider = engines(0)
    here, there = PartOfQueue(rows, provider), PartOfQueue(rows, engines(0))
    for place in (A1, A2):
        here.registry.request(place)
    there.registry.request(B1)
    rows.beat()
    provider.capacity = 1
    granted = here.registry.serve(everybody)
    assert granted is not None
    assert granted.place == A1
    rows.beat()
    assert (here.registry.calls, there.registry.calls, there.registry.own_calls) == (1, 1, 0)
    assert (there.registry.number(B1), here.registry.number(A2)) == (1, 2)


def test_a_login_that_ends_is_granted_nothing(engines: Callable[[int], CountedEngines]) -> None:
    """Its people keep their place for the next one; an engine that is free meanwhile goes to those who can use it."""
    rows = SharedRows()
    here = PartOfQueue(rows, engines(0))
    here.registry.request(A1)
    assert [one.ready for one in here.published[0]] == [True]
    here.registry.forget_nobody()
    assert [one.ready for one in here.published[0]] == [False]
    here.provider.capacity = 1
    assert here.registry.serve(everybody) is None


def test_places_are_taken_over_in_their_old_order(engines: Callable[[int], CountedEngines]) -> None:
    """Who waited in a process that has died comes where they were, not at the end."""
    rows = SharedRows()
    died, here = PartOfQueue(rows, engines(0)), PartOfQueue(rows, engines(0))
    died.registry.request(A1)
    since = {A1: rows.time}
    here.registry.request(B1)
    rows.parts.remove(died)
    here.registry.restore([(A1, 7)], since)
    rows.beat()
    assert list(here.registry.queue) == [A1, B1]
    here.registry.abandon(lambda guild_id: guild_id == A1.guild_id)
    rows.beat()
    assert list(here.registry.queue) == [B1]
    assert here.registry.number(B1) == 1


def test_a_process_that_drains_starts_nothing(engines: Callable[[int], CountedEngines]) -> None:
    """Its people wait, with an engine free."""
    registry = SessionRegistry(engines(1))
    registry.starts_calls = False
    assert registry.request(A1) == Waiting(1)
    assert registry.serve(everybody) is None
