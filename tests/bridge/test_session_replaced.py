"""A call whose engine is lost for good goes on with an engine of another kind."""

import asyncio
from collections.abc import Sequence

import pytest

from discordplex.bridge.events import Ended, EngineBack, EngineLost, EngineReplaced, HandedOver
from discordplex.bridge.session import REPLACE_AFTER_S
from discordplex.engine import BUSY, STALLED, Audio, Closed, EngineCaps, Persona, Text
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock, settle
from tests.bridge.scripted import CASCADE, PLEX, WHOLE_REPLIES, PreferredScriptedSlot, ReplaceableScriptedLease, ScriptedEngine, pcm_of_ms
from tests.bridge.scripted_call import Call, failing, for_ever

pytestmark = pytest.mark.usefixtures("nothing_is_left")

REFUSAL = EngineError("Nobody there.", retry=True)


def call_of(clock: FakeClock, *engines: ScriptedEngine, others: Sequence[ScriptedEngine]) -> tuple[Call, ReplaceableScriptedLease]:
    lease = ReplaceableScriptedLease(*engines, others=others)
    return Call(clock, lease=lease), lease


def kinds(call: Call) -> list[str]:
    return [type(event).__name__ for event in call.told]


def dead(clock: FakeClock) -> ScriptedEngine:
    return ScriptedEngine(clock, on_open=failing(REFUSAL))


def was_opened(engine: ScriptedEngine) -> bool:
    return engine.opened_at is not None


async def test_after_one_more_try_the_other_kind_is_there(clock: FakeClock) -> None:
    """A server that died refuses the second connection, too: within two seconds people talk with the other kind, and are told once."""
    engine, other = ScriptedEngine(clock), ScriptedEngine(clock)
    call, _ = call_of(clock, engine, dead(clock), others=[other])
    await call.start()
    engine.does(Closed("It died.", cause="broken off"))
    await clock.advance(2)
    assert other.opened_at is not None
    assert kinds(call) == ["Opening", "Listening", "EngineLost", "EngineReplaced", "EngineBack"]
    assert call.told[3] == EngineReplaced(PLEX, "Nobody there.")
    await call.cancel()


async def test_a_server_that_comes_back_keeps_its_call(clock: FakeClock) -> None:
    """The one try is enough where the network hiccuped, also if its handshake takes a while."""
    engine, back, other = (
        ScriptedEngine(clock),
        ScriptedEngine(clock, on_open=lambda: clock.sleep_until(clock.now() + 9)),
        ScriptedEngine(clock),
    )
    call, _ = call_of(clock, engine, back, others=[other])
    await call.start()
    engine.does(Closed("It died."))
    await clock.advance(30)
    assert kinds(call) == ["Opening", "Listening", "EngineLost", "EngineBack"]
    assert other.opened_at is None
    await call.cancel()


@pytest.mark.parametrize(
    "lost",
    [
        Closed("It refuses the persona.", retry=False),
        Closed("It is full.", cause=BUSY),
        Closed("It hangs.", cause=STALLED),
    ],
)
async def test_where_another_try_cannot_help_there_is_none(clock: FakeClock, lost: Closed) -> None:
    """Refused, full and stalled: the other kind is opened at once."""
    engine, other = ScriptedEngine(clock), ScriptedEngine(clock)
    call, _ = call_of(clock, engine, others=[other])
    await call.start()
    engine.does(lost)
    await clock.advance(0.1)
    assert was_opened(other)
    assert kinds(call) == ["Opening", "Listening", "EngineReplaced", "EngineBack"]
    await call.cancel()


@pytest.mark.parametrize(("takes_s", "replaced"), [(10.0, True), (0.5, False)])
async def test_a_try_that_takes_long_is_not_repeated(clock: FakeClock, *, takes_s: float, replaced: bool) -> None:
    """Nobody waits twice for a machine that does not answer; one that refuses at once is tried again."""

    async def fail_late() -> None:
        await clock.sleep_until(clock.now() + takes_s)
        raise REFUSAL

    other = ScriptedEngine(clock)
    call, _ = call_of(clock, *(ScriptedEngine(clock, on_open=fail_late) for _ in range(2)), others=[other])
    await call.start()
    await clock.advance(takes_s + 0.2)
    assert was_opened(other) == replaced
    await call.cancel()


async def test_a_call_whose_server_is_full_when_it_begins(clock: FakeClock) -> None:
    """People do not wait in the queue where another kind is free."""
    other = ScriptedEngine(clock)
    call, _ = call_of(clock, ScriptedEngine(clock, on_open=failing(EngineError("It is full.", cause=BUSY))), others=[other])
    await call.start()
    assert kinds(call) == ["Opening", "EngineReplaced", "Listening"]
    await call.cancel()


async def test_another_server_of_the_same_kind_comes_first(clock: FakeClock) -> None:
    """It is opened at once where one works, and it is not told as a replacement."""
    engine, second, other = ScriptedEngine(clock), ScriptedEngine(clock), ScriptedEngine(clock)
    call, lease = call_of(clock, engine, second, others=[other])
    lease.servers = 1
    await call.start()
    engine.does(Closed("It hangs.", cause=STALLED))
    await clock.advance(0.1)
    assert (was_opened(second), was_opened(other)) == (True, False)
    assert call.told[2:] == [EngineLost("It hangs.", 0.0), EngineBack()]
    await call.cancel()


async def test_an_opening_that_hangs_is_given_up(clock: FakeClock) -> None:
    """A lost server that takes the connection and says nothing is left after a while."""
    engine, other = ScriptedEngine(clock), ScriptedEngine(clock)
    hanging = ScriptedEngine(clock, on_open=for_ever)
    call, _ = call_of(clock, engine, hanging, others=[other])
    await call.start()
    engine.does(Closed("It died."))
    await clock.advance(REPLACE_AFTER_S - 0.5)
    assert not was_opened(other)
    await clock.advance(1)
    assert was_opened(other)
    assert [event for event in call.told if isinstance(event, EngineReplaced)] == [EngineReplaced(PLEX, "It died.")]
    await call.cancel()


async def test_the_tries_begin_anew_on_the_other_kind(clock: FakeClock) -> None:
    """It gets all of them where nothing else is left; then the call ends."""
    engine = ScriptedEngine(clock)
    others = [dead(clock)]
    call, lease = call_of(clock, engine, others=others)
    await call.start()
    engine.does(Closed("It refuses.", retry=False))
    await settle()
    lease.waiting.extend(dead(clock) for _ in range(20))
    await clock.advance(300)
    assert kinds(call).count("EngineReplaced") == 1
    assert kinds(call).count("EngineLost") == 11
    assert call.told[-1] == Ended("Nobody there.")


async def test_an_engine_of_another_kind_that_becomes_free_is_taken_at_once(clock: FakeClock) -> None:
    """A call that waits for its next try takes it when it is told of it, before anybody else can; one that has not tried again does not."""
    engine, other = ScriptedEngine(clock), ScriptedEngine(clock)
    call, lease = call_of(clock, engine, *(dead(clock) for _ in range(12)), others=[])
    await call.start()
    assert not call.session.take_replacement()
    engine.does(Closed("It died."))
    await clock.advance(0.1)
    lease.others.append(other)
    assert not call.session.take_replacement()
    lease.others.clear()
    await clock.advance(20)
    assert not call.session.take_replacement()
    lease.others.append(other)
    assert call.session.take_replacement()
    assert not lease.others
    assert not call.session.take_replacement()
    await clock.advance(0.1)
    assert was_opened(other)
    assert kinds(call)[-2:] == ["EngineReplaced", "EngineBack"]
    assert lease.failed == [True]
    await call.cancel()


async def test_nothing_is_opened_before_people_know(clock: FakeClock) -> None:
    """However often it is asked to begin anew meanwhile, and who opts out meanwhile is not told to the new engine as heard."""
    told = asyncio.Event()
    told.set()
    engine, other = ScriptedEngine(clock), ScriptedEngine(clock)
    lease = ReplaceableScriptedLease(engine, others=[other])

    async def may_open() -> None:
        await told.wait()

    call = Call(clock, lease=lease, may_open=may_open)
    await call.start()
    told.clear()
    engine.does(Closed("It refuses.", retry=False))
    await settle()
    assert isinstance(call.told[-1], EngineReplaced)
    await clock.advance(5)
    call.session.restart(Persona("other", "You are another."))
    call.session.try_now()
    await call.session.forget(1)
    await call.session.pause()
    await clock.advance(5)
    assert not was_opened(other)
    call.sink.will_hear(clock.now())
    told.set()
    await clock.advance(0.1)
    assert was_opened(other)
    assert (lease.personas[-1], other.forgotten) == (Persona("other", "You are another."), [1])
    other.does(Audio(pcm_of_ms(80)))
    await clock.advance(0.1)
    assert not any(frames for _, frames in other.heard)
    assert call.source.depth_ms == 0
    call.session.resume()
    other.does(Audio(pcm_of_ms(80)))
    await clock.advance(0.1)
    assert call.source.depth_ms == 80
    await call.cancel()


async def test_who_leaves_meanwhile_ends_it(clock: FakeClock) -> None:
    """The call ends while people are being told; the new engine is never opened."""
    engine, other = ScriptedEngine(clock), ScriptedEngine(clock)
    call = Call(clock, lease=ReplaceableScriptedLease(engine, others=[other]))
    await call.start()
    call.session._may_open = for_ever
    engine.does(Closed("It refuses.", retry=False))
    await clock.advance(1)
    await call.cancel()
    assert (other.opened_at, call.told[-1]) == (None, Ended(None))


async def test_a_call_returns_in_a_pause(clock: FakeClock) -> None:
    """The next engine hears what the live one hears, is not heard itself, and takes over when everybody is silent."""
    other, home = ScriptedEngine(clock, caps=WHOLE_REPLIES), ScriptedEngine(clock)
    call, lease = call_of(clock, other, others=[])
    lease.info = CASCADE
    assert not call.session.hand_over_to(PreferredScriptedSlot(lease, home, print))
    await call.start()
    other.does(Text("I was here.", final=True))
    await clock.advance(0.5)
    lease.preferred = home
    slot = lease.preferred_slot(print)
    assert slot
    assert call.session.hand_over_to(slot)
    assert not call.session.hand_over_to(slot)
    await clock.advance(0.5)
    assert was_opened(home)
    assert [turn.text for turn in lease.recaps[-1].turns] == ["I was here."]
    home.does(Audio(pcm_of_ms(80)))
    call.sink.will_hear(clock.now() + 0.1)
    await clock.advance(0.5)
    assert any(frames for _, frames in home.heard)
    assert call.source.pushed_samples == 0
    await clock.advance(5)
    assert (lease.info, other.closed_at is not None) == (PLEX, True)
    assert isinstance(call.told[-1], HandedOver)
    home.does(Audio(pcm_of_ms(80)))
    await clock.advance(0.1)
    assert call.source.depth_ms == 80
    await call.cancel()
    assert not slot.given_back


async def test_a_return_for_which_nobody_pauses_is_given_up(clock: FakeClock) -> None:
    """The preferred engine's memory fills while it stands by, and nobody else could have it."""
    other = ScriptedEngine(clock, caps=WHOLE_REPLIES)
    home = ScriptedEngine(clock, caps=EngineCaps(realtime_paced=True, memory_s=80))
    call, lease = call_of(clock, other, others=[])
    lease.info = CASCADE
    await call.start()
    call.sink.pause_s = 0.0
    lease.preferred = home
    slot = lease.preferred_slot(print)
    assert slot
    assert call.session.hand_over_to(slot)
    given_back = []
    for _ in range(62):
        home.does(Audio(pcm_of_ms(80)))
        await clock.advance(1)
        given_back.append(slot.given_back)
    assert given_back.index(True) == 60
    assert home.closed_at is not None
    assert (other.closed_at, kinds(call)) == (None, ["Opening", "Listening"])
    await call.cancel()


async def test_a_return_that_fails_changes_nothing(clock: FakeClock) -> None:
    """The slot is given back, and the live engine goes on."""
    other = ScriptedEngine(clock, caps=WHOLE_REPLIES)
    call, lease = call_of(clock, other, others=[])
    await call.start()
    lease.preferred = dead(clock)
    slot = lease.preferred_slot(print)
    assert slot
    assert call.session.hand_over_to(slot)
    await clock.advance(1)
    assert slot.given_back
    assert (other.closed_at, kinds(call)) == (None, ["Opening", "Listening"])
    other.does(Audio(pcm_of_ms(80)))
    await clock.advance(0.1)
    assert call.source.depth_ms == 80
    await call.cancel()


async def test_an_engine_that_works_can_be_replaced(clock: FakeClock) -> None:
    """What it has not said yet is dropped; the kind does not count as failing. Where none is free the engine stays."""
    engine, other = ScriptedEngine(clock), ScriptedEngine(clock)
    call, lease = call_of(clock, engine, others=[other])
    assert not call.session.replace_engine("Too early.")
    await call.start()
    engine.does(Audio(pcm_of_ms(80)))
    await clock.advance(0.1)
    assert call.session.replace_engine("The minutes are used up.")
    await clock.advance(0.1)
    assert (was_opened(other), call.source.depth_ms, lease.failed) == (True, 0, [False])
    assert call.told[2:] == [EngineReplaced(PLEX, "The minutes are used up."), EngineBack()]
    assert not call.session.replace_engine("Again.")
    await call.cancel()
