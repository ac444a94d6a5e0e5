"""What people may ask of a call in its middle: to stop and go on, and to go on as somebody else."""

import pytest

from discordplex.bridge.events import Caption, EngineBack, EngineLost, Listening, Opening
from discordplex.engine import Audio, Closed, Persona, Text
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock, settle
from tests.bridge.scripted import PERSONA, ScriptedEngine, pcm_of_ms
from tests.bridge.scripted_call import Call, failing, for_ever

pytestmark = pytest.mark.usefixtures("nothing_is_left")

PIRATE = Persona("NATM1.pt", "You are a pirate.")


async def test_a_paused_call_sends_silence_and_plays_nothing(clock: FakeClock) -> None:
    """Fifty empty pushes a second, what waited is thrown away, what the engine says meanwhile is neither heard nor shown, ever."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    engine.does(Text("Once"), Audio(pcm_of_ms(80)), Text(" upon"), Audio(pcm_of_ms(400)), Text(" a time"))
    await clock.advance(0.1)
    call.source.play(40)
    await call.session.pause()
    assert call.source.depth_ms == 0
    for count in range(50):
        call.sink.will_hear(clock.now() + count * 0.02)
    engine.does(Text("there was"), Audio(pcm_of_ms(200)))
    engine.heard.clear()
    await clock.advance(1.0)
    assert len(engine.heard) == pytest.approx(50, abs=1)
    assert not any(frames for _, frames in engine.heard)
    assert call.source.depth_ms == 0
    call.session.resume()
    call.sink.will_hear(clock.now())
    engine.does(Text("The end."), Audio(pcm_of_ms(80)))
    await clock.advance(0.2)
    assert sum(bool(frames) for _, frames in engine.heard) == 1
    assert call.source.depth_ms == 80
    await call.cancel()
    captions = {event.key: event.text for event in call.told if isinstance(event, Caption)}
    assert list(captions.values()) == ["Once", "The end."]


async def test_a_pause_outlives_the_engine(clock: FakeClock) -> None:
    """An engine that comes back while the call is paused hears silence too, and what the lost one had left to say is not played."""
    first, second = ScriptedEngine(clock), ScriptedEngine(clock)
    call = Call(clock, first, second)
    await call.start()
    first.does(Audio(pcm_of_ms(500)), Closed("Gone."))
    await settle()
    await call.session.pause()
    assert call.source.depth_ms == 0
    for count in range(100):
        call.sink.will_hear(clock.now() + count * 0.02)
    second.does(Audio(pcm_of_ms(80)))
    await clock.advance(2.0)
    assert second.heard
    assert not any(frames for _, frames in second.heard)
    assert call.source.depth_ms == 0
    await call.cancel()


async def test_a_restart_opens_the_engine_as_somebody_else(clock: FakeClock) -> None:
    """At once, on the same lease, the old conversation closed first, without a word of a lost engine."""
    first, second = ScriptedEngine(clock), ScriptedEngine(clock)
    call = Call(clock, first, second)
    await call.start()
    first.does(Audio(pcm_of_ms(500)))
    await clock.advance(0.1)
    call.session.restart(PIRATE)
    await settle()
    assert call.lease.personas == [PERSONA, PIRATE]
    assert first.closed_at == second.opened_at == clock.now()
    assert call.source.depth_ms == 0
    assert call.told == [Opening(), Listening(), EngineBack()]
    second.does(Closed("Gone."))
    await settle()
    assert call.told[3:] == [EngineLost("Gone.", 1)]
    await call.cancel()


async def test_a_restart_does_not_wait(clock: FakeClock) -> None:
    """Neither for an engine that is being opened, nor for the next try after a loss."""
    stuck, refusing, last = (
        ScriptedEngine(clock, on_open=for_ever),
        ScriptedEngine(clock, on_open=failing(EngineError("No."))),
        ScriptedEngine(clock),
    )
    call = Call(clock, stuck, refusing, last)
    await call.start()
    call.session.restart(PIRATE)
    await settle()
    assert call.told == [Opening(), EngineLost("No.", 1)]
    call.session.restart(PERSONA)
    await settle()
    assert call.told[2:] == [Listening()]
    assert call.lease.personas == [PERSONA, PIRATE, PERSONA]
    await call.cancel()
