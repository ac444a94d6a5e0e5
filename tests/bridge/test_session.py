"""One call's lifetime, with an engine that does what the test says: opening, losing, coming back."""

import asyncio
from typing import Any

import pytest

from discordplex.bridge.events import Caption, Ended, EngineBack, EngineLost, Listening, Opening, StillOpening, Trouble
from discordplex.bridge.retry import RetryRule
from discordplex.engine import Audio, Closed, Interrupted, PersonaIgnored, Problem, Text
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock, settle
from tests.bridge.scripted import PERSONA, ScriptedEngine, pcm_of_ms
from tests.bridge.scripted_call import Call, failing

pytestmark = pytest.mark.usefixtures("nothing_is_left")


async def test_a_call_from_beginning_to_end(clock: FakeClock) -> None:
    """Opening, listening, captions as they are heard, and an end as asked that closes the engine and lets the cancellation pass."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    engine.does(Text(" Hel"), Audio(pcm_of_ms(80)), Text("lo"), Audio(pcm_of_ms(80)), Text(" you"))
    await clock.advance(0.1)
    began: Any = pytest.approx(1000.1)
    assert call.told == [Opening(), Listening(), Caption(1, "Hel", final=False, speaker=None, began_at=began)]
    call.source.play(80)
    await clock.advance(0.1)
    await call.cancel()
    assert call.told[3:] == [
        Caption(1, "Hello", final=False, speaker=None, began_at=began),
        Caption(1, "Hello you", final=True, speaker=None, began_at=began),
        Ended(None),
    ]
    assert engine.closed_at == clock.now()
    assert call.lease.personas == [PERSONA]


async def test_people_are_heard_from_listening_on_and_not_before(clock: FakeClock) -> None:
    """Nothing is pushed while the engine opens; from then on there are fifty pushes a second, and none after it closed."""
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    engine = ScriptedEngine(clock, on_open=wait)
    call = Call(clock, engine)
    for count in range(200):
        call.sink.will_hear(clock.now() + count * 0.02)
    await call.start()
    await clock.advance(2.0)
    assert engine.heard == []
    assert call.told == [Opening()]
    gate.set()
    await clock.advance(1.0)
    assert len(engine.heard) == 50
    assert all(at >= 1002 for at, _ in engine.heard)
    await call.cancel()
    await clock.advance(1.0)
    assert len(engine.heard) == 50


async def test_a_lost_engine_comes_back(clock: FakeClock) -> None:
    """Lost in mid-call: the loss is told with the wait, the same lease opens again, nothing said in between is heard later."""
    first, second = ScriptedEngine(clock), ScriptedEngine(clock)
    call = Call(clock, first, second)
    await call.start()
    await clock.advance(0.5)
    first.does(Text("half a"), Closed("The engine went away."))
    await settle()
    assert first.closed_at == clock.now()
    assert call.told[2:] == [EngineLost("The engine went away.", 1)]
    for count in range(50):
        call.sink.will_hear(clock.now() + count * 0.02)
    await clock.advance(1.1)
    began: Any = pytest.approx(1000.6)
    assert call.told[3:] == [Caption(1, "half a", final=True, speaker=None, began_at=began), EngineBack()]
    await clock.advance(0.5)
    assert len(second.heard) == pytest.approx(30, abs=1)
    assert not any(frames for _, frames in second.heard)
    await call.cancel()


async def test_playing_goes_on_while_the_engine_is_away(clock: FakeClock) -> None:
    """What the engine said before it was lost is still played: nothing is flushed."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine, ScriptedEngine(clock))
    await call.start()
    engine.does(Audio(pcm_of_ms(400)), Closed("Gone."))
    await clock.advance(0.5)
    assert call.source.depth_ms == 400
    assert call.source.flushes == 0
    await call.cancel()


async def test_an_engine_that_can_never_serve_ends_the_call_at_once(clock: FakeClock) -> None:
    """A refusal that trying again cannot mend is the end, with the engine's sentence."""
    engine = ScriptedEngine(clock, on_open=failing(EngineError("The voice does not exist.", retry=False)))
    call = Call(clock, engine)
    await call.start()
    assert call.told == [Opening(), Ended("The voice does not exist.")]
    assert call.task
    assert call.task.done()


async def test_an_engine_that_closes_for_good_ends_the_call(clock: FakeClock) -> None:
    """`Closed` without retry is the end too, after the captions."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    engine.does(Text("Good bye."), Audio(pcm_of_ms(80)), Text("!"), Closed("Your time is over.", retry=False))
    await settle()
    assert call.told[2:] == [Caption(1, "Good bye.!", final=True, speaker=None, began_at=clock.now()), Ended("Your time is over.")]


async def test_an_unreachable_engine_is_given_up(clock: FakeClock) -> None:
    """After the last try that the rule allows the call ends with the reason, having told each failure and never listened."""
    engines = [ScriptedEngine(clock, on_open=failing(EngineError(f"No answer {count}."))) for count in range(4)]
    call = Call(clock, *engines, rule=RetryRule(failures=4))
    await call.start()
    await clock.advance(10)
    assert call.told == [
        Opening(),
        EngineLost("No answer 0.", 1),
        EngineLost("No answer 1.", 2),
        EngineLost("No answer 2.", 4),
        Ended("No answer 3."),
    ]


async def test_an_engine_started_late_is_found(clock: FakeClock) -> None:
    """The first opening that succeeds is `Listening`, also after failures."""
    call = Call(clock, ScriptedEngine(clock, on_open=failing(EngineError("Not there."))), ScriptedEngine(clock))
    await call.start()
    await clock.advance(1.5)
    assert call.told == [Opening(), EngineLost("Not there.", 1), Listening()]
    await call.cancel()


@pytest.mark.parametrize(("audio_s", "waits"), [(9, [1, 2]), (10, [1, 1])])
async def test_only_audio_ends_a_streak_of_failures(clock: FakeClock, audio_s: float, waits: list[float]) -> None:
    """An engine that connects and dies is waited for longer each time, unless it gave ten seconds of audio at a stretch."""
    engines = [ScriptedEngine(clock) for _ in range(3)]
    call = Call(clock, *engines)
    await call.start()
    engines[0].does(Audio(pcm_of_ms(9000)), Closed("Gone."))
    await clock.advance(1.1)
    engines[1].does(Audio(pcm_of_ms(audio_s * 1000)), Closed("Gone."))
    await settle()
    assert [event.retry_in_s for event in call.told if isinstance(event, EngineLost)] == waits
    await call.cancel()


async def test_audio_of_an_earlier_engine_does_not_forgive_a_later_failure(clock: FakeClock) -> None:
    """After a long good conversation, a server that then refuses is given up like any other."""
    good = ScriptedEngine(clock)
    call = Call(clock, good, *[ScriptedEngine(clock, on_open=failing(EngineError("No."))) for _ in range(3)], rule=RetryRule(failures=3))
    await call.start()
    good.does(Audio(pcm_of_ms(20_000)), Closed("Gone."))
    await clock.advance(10)
    assert call.told[-1] == Ended("No.")
    assert [event.retry_in_s for event in call.told if isinstance(event, EngineLost)] == [1, 2]


async def test_trouble_does_not_end_a_call(clock: FakeClock) -> None:
    """A problem is told and the call goes on."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    engine.does(Problem("The answer was cut short."))
    await clock.advance(0.1)
    assert call.told == [Opening(), Listening(), Trouble("The answer was cut short.")]
    assert call.task
    assert not call.task.done()
    await call.cancel()


async def test_barge_in_by_the_engine_and_by_a_person(clock: FakeClock) -> None:
    """Both silence the playing at once; without an engine a person's wish does nothing."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.session.interrupt()
    await call.start()
    engine.does(Audio(pcm_of_ms(500), item="a"), Interrupted("a"), Audio(pcm_of_ms(300), item="b"))
    await settle()
    assert (call.source.depth_ms, call.source.flushes) == (300, 1)
    await call.session.interrupt()
    assert (call.source.depth_ms, call.source.flushes) == (0, 2)
    assert engine.interrupts == [("a", 0), ("b", 0)]
    await call.cancel()


async def test_who_left_is_forgotten(clock: FakeClock) -> None:
    """What the sink keeps about a person goes when the person goes."""
    call = Call(clock, ScriptedEngine(clock))
    await call.start()
    call.link.people = frozenset({2, 3})
    await clock.advance(0.2)
    assert call.sink.forgotten == [1]
    await call.cancel()


async def test_an_engine_that_opens_slowly_is_reported_once_for_each_try(clock: FakeClock) -> None:
    """After 15 s of one try and not before; a quick one is not reported, however many were before it."""
    opening = asyncio.Event()

    async def slowly() -> None:
        await opening.wait()

    refusing = [ScriptedEngine(clock, on_open=failing(EngineError("No."))) for _ in range(4)]
    call = Call(clock, *refusing, ScriptedEngine(clock, on_open=slowly), ScriptedEngine(clock, on_open=slowly))
    await call.start()
    await clock.advance(1 + 2 + 4 + 8)
    assert EngineLost("No.", 8) in call.told[-1:]
    before = list(call.told)
    await clock.advance(14.9)
    assert call.told == before
    await clock.advance(60)
    assert call.told == [*before, StillOpening(15.0)]
    call.session.restart(PERSONA)
    await clock.advance(15.1)
    assert call.told == [*before, StillOpening(15.0), StillOpening(15.0)]
    opening.set()
    await settle()
    assert call.told[-1] == Listening()
    await call.cancel()


async def test_that_an_engine_keeps_its_own_persona_is_passed_on(clock: FakeClock) -> None:
    """As a fact, for each engine that says so."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    engine.does(PersonaIgnored())
    await settle()
    assert call.told == [Opening(), Listening(), PersonaIgnored()]
    await call.cancel()
