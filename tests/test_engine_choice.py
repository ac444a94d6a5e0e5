"""Several kinds of engines behind one provider."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from discordplex.engine import (
    NO_RECAP,
    ChoosingProvider,
    EngineInfo,
    EngineLease,
    MovableLease,
    Persona,
    Recap,
    RecapTurn,
    ReplaceableLease,
    SpareSlot,
    SpeakerId,
    StandIn,
    TurnTakingLease,
    VoiceEngine,
    servers_of,
)
from discordplex.engine_choice import FIRST_PAUSE_S, OUT_OF_USE_S, SERVED_S, ChosenLease, EngineChoice, EngineOption, PreferredSlot
from discordplex.errors import LocalProtocolError
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics

PLEX = EngineInfo("PersonaPlex", transcribes=False)
CLOUD = EngineInfo("OpenAI Realtime", transcribes=True, costs_money=True, takes_turns=True)
CASCADE = EngineInfo("the cascade", transcribes=True, takes_turns=True)
DEFAULTS = {
    "personaplex": Persona("NATF0.pt", "You are a teacher."),
    "realtime": Persona("", "You are a friend."),
    "cascade": Persona("shimmer", "You are a friend."),
}


class PlainLease:
    """A place at an engine that does not exist; it notes whom it is opened as."""

    def __init__(self, name: str, info: EngineInfo) -> None:
        self.name, self.info = name, info
        self.personas: list[Persona] = []
        self.recaps: list[Recap] = []
        self.spares = 1

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:  # noqa: ARG002 -- the port's shape
        self.personas.append(persona)
        self.recaps.append(recap)
        raise ZeroDivisionError

    def spare(self, lost: Callable[[], None]) -> SpareSlot | None:
        self.lost = lost
        self.spares -= 1
        return PlainSpare(self) if self.spares >= 0 else None


class PlainSpare:
    """A second place of a lease."""

    def __init__(self, lease: PlainLease) -> None:
        self.name, self.open = f"{lease.name} spare", lease.open
        self.lease = lease

    def adopt(self) -> None:
        self.lease.name = self.name

    def give_back(self) -> None:
        self.lease.spares += 1


class TurnLease(PlainLease):
    """The same for an engine that takes turns."""

    def __init__(self, name: str, info: EngineInfo) -> None:
        super().__init__(name, info)
        self.name_of = str
        self.told: list[str] = []

    def reset(self) -> None:
        self.told.append("reset")

    def forget(self, speaker: SpeakerId) -> None:
        self.told.append(f"forget {speaker}")


class Kind:
    """A provider of `capacity` engines, of which `failing` are out of use; like the pool's, those are given only when none works."""

    def __init__(self, info: EngineInfo, capacity: int = 1, *, voices: Sequence[str] = (), longest: int = 1000) -> None:
        self.info, self.capacity, self.voices = info, capacity, voices
        self.failing = 0
        self.longest = longest
        self.held: list[EngineLease] = []

    @property
    def working(self) -> int:
        return max(0, self.capacity - self.failing - len(self.held))

    @property
    def free(self) -> int:
        return self.capacity - len(self.held) if self.failing == self.capacity else self.working

    def check(self, voice: str, text_prompt: str) -> str | None:
        if self.voices and voice not in self.voices:
            return f"There is no voice {voice}."
        return "The role is too long." if len(text_prompt) > self.longest else None

    def acquire(self) -> EngineLease | None:
        if not self.free:
            return None
        lease = (TurnLease if self.info.takes_turns else PlainLease)(f"{self.info.description} {len(self.held)}", self.info)
        self.held.append(lease)
        return lease

    def release(self, lease: EngineLease) -> None:
        if lease in self.held:
            self.held.remove(lease)


def choice_of(clock: FakeClock, voices: Mapping[str, Mapping[str, str]] | None = None, **kinds: Kind) -> EngineChoice:
    options = [EngineOption(name, kind, DEFAULTS[name]) for name, kind in kinds.items()]
    return EngineChoice(options, voices=voices or {}, clock=clock)


def got(lease: EngineLease | None) -> ChosenLease:
    assert isinstance(lease, ChosenLease)
    return lease


def present(lease: EngineLease | None) -> tuple[str, str | None]:
    """Which kind of engine it has, and why not the preferred one."""
    stand_in = got(lease).stand_in
    return got(lease).info.description, stand_in.reason if stand_in else None


def no() -> bool:
    return False


async def test_its_shapes_are_the_port_s(clock: FakeClock) -> None:
    """Whoever asks whether a lease or a provider can do something gets the right answer."""
    choice = choice_of(clock, personaplex=Kind(PLEX), cascade=Kind(CASCADE))
    assert isinstance(choice, ChoosingProvider)
    lease = choice.acquire()
    assert isinstance(lease, ReplaceableLease)
    assert isinstance(lease, MovableLease)
    assert isinstance(lease, TurnTakingLease)


async def test_the_third_call_gets_the_next_kind(clock: FakeClock) -> None:
    """In order of preference, until nothing at all is free; what is given back is given again."""
    plex, cascade = Kind(PLEX, 2), Kind(CASCADE, 1)
    choice = choice_of(clock, personaplex=plex, cascade=cascade)
    assert (choice.capacity, choice.free, choice.working, choice.info) == (3, 3, 3, PLEX)
    first, second, third = choice.acquire(), choice.acquire(), choice.acquire()
    assert [present(lease) for lease in (first, second, third)] == [("PersonaPlex", None), ("PersonaPlex", None), ("the cascade", "busy")]
    assert got(third).stand_in == StandIn(PLEX, "busy")
    assert (choice.free, choice.acquire(), choice.info) == (0, None, PLEX)
    assert [(one.kind, one.capacity, one.busy) for one in servers_of(choice)] == [("PersonaPlex", 2, 2), ("the cascade", 1, 1)]
    choice.release(got(first))
    choice.release(got(first))
    assert (choice.free, len(plex.held), len(cascade.held)) == (1, 1, 1)
    assert present(choice.acquire()) == ("PersonaPlex", None)


async def test_what_works_comes_before_what_is_preferred(clock: FakeClock) -> None:
    """A kind whose servers have failed is given only when nothing else is free: people then hear what is wrong with it."""
    plex, cascade = Kind(PLEX, 2), Kind(CASCADE, 1)
    choice = choice_of(clock, personaplex=plex, cascade=cascade)
    plex.failing = 2
    assert choice.info == CASCADE
    assert present(choice.acquire()) == ("the cascade", "failing")
    assert present(choice.acquire()) == ("PersonaPlex", None)
    plex.failing = 1
    assert (choice.free, choice.acquire()) == (0, None)


async def test_a_limit_of_money_binds_costly_kinds_only(clock: FakeClock) -> None:
    """A call that may not cost anything gets what is free of charge, and nothing where that is taken."""
    plex, cloud, cascade = Kind(PLEX), Kind(CLOUD), Kind(CASCADE)
    choice = choice_of(clock, realtime=cloud, personaplex=plex, cascade=cascade)
    assert [info.costs_money for info in choice.infos] == [True, False, False]
    assert choice.free_for(no) == 2
    first, second = choice.acquire_for(no), choice.acquire_for(no)
    assert [present(lease) for lease in (first, second)] == [("PersonaPlex", "minutes"), ("the cascade", "minutes")]
    assert (choice.free_for(no), choice.acquire_for(no), choice.free) == (0, None, 1)
    assert got(first).replace() is False
    assert present(choice.acquire()) == ("OpenAI Realtime", None)


async def test_a_lost_engine_is_replaced_by_the_best_that_works(clock: FakeClock) -> None:
    """The place of the old one is free at once; name, info and what is forwarded are the new one's."""
    plex, cloud, cascade = Kind(PLEX), Kind(CLOUD), Kind(CASCADE)
    choice = choice_of(clock, personaplex=plex, realtime=cloud, cascade=cascade)
    lease = got(choice.acquire())
    lease.forget(7)
    lease.reset()
    cloud.failing = 1
    assert lease.is_replaceable
    assert lease.replace()
    assert (present(lease), lease.name, len(plex.held), len(cascade.held)) == (("the cascade", "failing"), "the cascade 0", 0, 1)
    lease.name_of = lambda _: "Anna"
    inner = cascade.held[0]
    assert isinstance(inner, TurnLease)
    with pytest.raises(ZeroDivisionError):
        lease.open(DEFAULTS["personaplex"], Metrics(), SAID)
    assert inner.recaps == [SAID]
    lease.forget(7)
    lease.reset()
    assert (inner.name_of(7), inner.told, inner.personas) == ("Anna", ["forget 7", "reset"], [Persona("shimmer", "You are a teacher.")])
    choice.release(lease)
    assert (choice.free, lease.name, lease.info, lease.is_replaceable) == (3, "the cascade 0", CASCADE, False)
    with pytest.raises(LocalProtocolError):
        lease.replace()


async def test_a_spare_slot_is_the_present_engine_s(clock: FakeClock) -> None:
    """It has the persona as that engine has it, and what is adopted names the lease."""
    cascade = Kind(CASCADE)
    lease = got(choice_of(clock, cascade=cascade, personaplex=Kind(PLEX, voices=NATURAL)).acquire())
    inner = cascade.held[0]
    assert isinstance(inner, PlainLease)
    spare = lease.spare(print)
    assert spare
    assert (inner.lost, lease.spare(print)) == (print, None)
    with pytest.raises(ZeroDivisionError):
        spare.open(Persona("NATF0.pt", "You are Ann."), Metrics(), SAID)
    assert (inner.personas, inner.recaps) == ([Persona("shimmer", "You are Ann.")], [SAID])
    spare.give_back()
    assert inner.spares == 0
    spare.adopt()
    assert lease.name == spare.name


async def test_a_call_can_return_to_the_preferred_kind(clock: FakeClock) -> None:
    """While it has another one and the preferred one is free and works; adopted, it is the engine of the lease."""
    plex, cascade = Kind(PLEX), Kind(CASCADE, 2)
    choice = choice_of(clock, personaplex=plex, cascade=cascade)
    first, lease = got(choice.acquire()), got(choice.acquire())
    told: list[str] = []

    def slot() -> PreferredSlot | None:
        return lease.preferred_slot(lambda: told.append("lost"))

    assert (first.preferred_slot(print), slot()) == (None, None)
    choice.release(first)
    plex.failing = 1
    assert slot() is None
    plex.failing = 0
    failed = slot()
    assert failed
    assert (choice.working, slot()) == (1, None)
    for _ in range(2):
        failed.give_back()
    assert (told, plex.held) == (["lost"], [])
    assert slot() is None
    await clock.advance(FIRST_PAUSE_S)
    found = slot()
    assert found
    with pytest.raises(ZeroDivisionError):
        found.open(Persona("NATF1.pt", "You are Ann."), Metrics(), SAID)
    inner = plex.held[0]
    assert isinstance(inner, PlainLease)
    assert (inner.personas, inner.recaps) == ([Persona("NATF1.pt", "You are Ann.")], [SAID])
    found.adopt()
    found.adopt()
    found.give_back()
    with pytest.raises(LocalProtocolError):
        found.open(DEFAULTS["personaplex"], Metrics())
    assert (present(lease), told, len(plex.held), cascade.held) == (("PersonaPlex", None), ["lost"], 1, [])
    assert slot() is None
    choice.release(lease)
    assert plex.held == []


async def test_a_kind_that_calls_have_lost_is_not_preferred_for_a_while(clock: FakeClock) -> None:
    """Where its provider does not pause servers by itself; longer each time, until a call has had it for a minute."""
    cloud, cascade = Kind(CLOUD, 9), Kind(CASCADE, 9)
    choice = choice_of(clock, realtime=cloud, cascade=cascade)

    def fail() -> None:
        lease = got(choice.acquire())
        assert lease.info == CLOUD
        assert lease.replace()
        choice.release(lease)

    fail()
    assert (choice.info, choice.working, choice.free) == (CASCADE, 9, 18)
    await clock.advance(OUT_OF_USE_S)
    fail()
    await clock.advance(OUT_OF_USE_S)
    assert present(choice.acquire()) == ("the cascade", "failing")
    await clock.advance(OUT_OF_USE_S)
    lease = got(choice.acquire())
    await clock.advance(SERVED_S)
    choice.release(lease)
    fail()
    await clock.advance(OUT_OF_USE_S)
    assert choice.info == CLOUD
    assert got(choice.acquire()).replace(failed=False)
    assert choice.info == CLOUD


async def test_kinds_that_fail_in_turn_are_tried_less_and_less_often(clock: FakeClock) -> None:
    """A call returns to a kind that it has lost after a pause that doubles; another call may have it at once."""
    choice = choice_of(clock, personaplex=Kind(PLEX, 2), cascade=Kind(CASCADE, 2))
    lease = got(choice.acquire())
    changes = 0
    for _ in range(3600):
        changes += lease.replace()
        await clock.advance(1)
    assert changes <= 14
    assert present(choice.acquire()) == ("PersonaPlex", None)


async def test_the_first_return_takes_a_minute(clock: FakeClock) -> None:
    """The kind that was lost first is tried again then, when the other one is lost too."""
    choice = choice_of(clock, personaplex=Kind(PLEX), cascade=Kind(CASCADE))
    lease = got(choice.acquire())
    assert [lease.replace() for _ in range(2)] == [True, False]
    await clock.advance(FIRST_PAUSE_S)
    assert lease.replace()
    assert present(lease) == ("PersonaPlex", None)


SAID = Recap((RecapTurn("Hello."),))
VOICES = {"NATF0.pt": {"cascade": "nova"}, "NATM1.pt": {"realtime": "ash"}}
NATURAL = ("NATF0.pt", "NATF1.pt", "NATM1.pt")
CLOUDY = ("ash", "marin")
LONG = "You are " + "very " * 300 + "long."


@pytest.mark.parametrize(
    ("wanted", "kind", "expected"),
    [
        (Persona("NATF0.pt", "You are Ann."), "personaplex", Persona("NATF0.pt", "You are Ann.")),
        (Persona("NATF0.pt", "You are Ann."), "cascade", Persona("nova", "You are Ann.")),
        (Persona("NATF1.pt", "You are Ann."), "cascade", Persona("shimmer", "You are Ann.")),
        (Persona("NATM1.pt", "You are Ann."), "realtime", Persona("ash", "You are Ann.")),
        (Persona("NATF1.pt", "You are Ann."), "realtime", Persona("marin", "You are Ann.")),
        (Persona("ash", "You are Ann."), "realtime", Persona("ash", "You are Ann.")),
        (Persona("ash", "You are Ann."), "personaplex", Persona("NATF0.pt", "You are Ann.")),
        (Persona("shimmer", "You are Ann."), "cascade", Persona("shimmer", "You are Ann.")),
        (Persona("nova", "You are Ann."), "cascade", Persona("nova", "You are Ann.")),
        (Persona("NATF1.pt", LONG), "personaplex", Persona("NATF1.pt", "You are a teacher.")),
        (Persona("NATF1.pt", LONG), "cascade", Persona("shimmer", LONG)),
    ],
)
async def test_a_persona_carries_over(clock: FakeClock, wanted: Persona, kind: str, expected: Persona) -> None:
    """The role is the same, unless the kind refuses it; the voice is the table's, the same where the kind has it, else the kind's own."""
    kinds = {"personaplex": Kind(PLEX, voices=NATURAL), "realtime": Kind(CLOUD, voices=CLOUDY), "cascade": Kind(CASCADE, longest=9999)}
    defaults = {**DEFAULTS, "realtime": Persona("marin", "You are a friend.")}
    options = {name: EngineOption(name, one, defaults[name]) for name, one in kinds.items()}
    for order in (["personaplex", "realtime", "cascade"], ["cascade", "personaplex", "realtime"]):
        choice = EngineChoice([options[name] for name in order], voices=VOICES, clock=clock)
        assert choice.persona_on(options[kind], wanted) == expected, order


async def test_a_voice_of_another_kind_is_accepted_where_one_is_known_to_have_it(clock: FakeClock) -> None:
    """The preferred kind's voices are offered. The role is the preferred kind's to judge."""
    choice = choice_of(
        clock, VOICES, personaplex=Kind(PLEX, voices=NATURAL), realtime=Kind(CLOUD, voices=CLOUDY), cascade=Kind(CASCADE, longest=9999)
    )
    assert choice.voices == NATURAL
    accepted = [
        voice for voice in ("NATF1.pt", "ash", "shimmer", "nova", "NATF9.pt", "alloy") if choice.check(voice, "You are Ann.") is None
    ]
    assert accepted == ["NATF1.pt", "ash", "shimmer", "nova"]
    assert choice.check("NATF9.pt", "You are Ann.") == "There is no voice NATF9.pt."
    assert choice.check("ash", LONG) == choice.check("NATF1.pt", LONG) == "The role is too long."


async def test_a_name_is_its_kind_s(clock: FakeClock) -> None:
    """What the operator calls the preferred kind is never said of another one."""
    options = [EngineOption("personaplex", Kind(PLEX), DEFAULTS["personaplex"], "Ann's card")]
    choice = EngineChoice([*options, EngineOption("cascade", Kind(CASCADE), DEFAULTS["cascade"])], voices={}, clock=clock)
    lease = got(choice.acquire())
    assert lease.info == replace(PLEX, description="Ann's card") == choice.infos[0]
    assert lease.replace()
    assert lease.info == CASCADE
    assert lease.stand_in == StandIn(replace(PLEX, description="Ann's card"), "failing")
