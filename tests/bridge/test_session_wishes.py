"""What people may ask of a call in its middle: to stop and go on, and to go on as somebody else."""

import asyncio

import pytest

from discordplex.audio.format import DISCORD
from discordplex.audio.sink import Sink
from discordplex.bridge.events import Caption, EngineBack, EngineLost, Listening, Opening, Trouble
from discordplex.bridge.gated_sink import GatedSink
from discordplex.engine import Audio, Closed, Persona, Problem, Text
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock, settle
from discordplex.metrics import Metrics
from tests.bridge.scripted import PERSONA, ScriptedEars, ScriptedEngine, pcm_of_ms
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
    first.does(Audio(pcm_of_ms(500)), Text("not yet heard"))
    await clock.advance(0.1)
    call.session.restart(PIRATE)
    await settle()
    assert call.lease.personas == [PERSONA, PIRATE]
    assert first.closed_at == second.opened_at == clock.now()
    assert call.source.depth_ms == 0
    await clock.advance(5.0)
    assert call.told == [Opening(), Listening(), EngineBack()], "what was left to say is not shown either"
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


def real_call(clock: FakeClock, *engines: ScriptedEngine) -> tuple[Call, Sink]:
    """A call that hears through a real sink."""
    sink = Sink(clock=clock, metrics=Metrics())
    return Call(clock, *engines, sink=GatedSink(sink, clock=clock)), sink


async def test_nothing_of_a_forgotten_speaker_reaches_the_engine(clock: FakeClock) -> None:
    """What waits in the sink is dropped before `forget` returns, the engine is told, and others are heard on."""
    engine = ScriptedEngine(clock)
    call, sink = real_call(clock, engine)
    await call.start()
    for speaker in (1, 2):
        sink.write(bytes(DISCORD.bytes_of_ms(400)), speaker)
    await call.session.forget(1)
    assert engine.forgotten == [1]
    await clock.advance(1.0)
    assert {speaker for _, frames in engine.heard for speaker in frames} == {2}
    await call.cancel()


async def test_words_of_a_forgotten_speaker_are_never_shown(clock: FakeClock) -> None:
    """Theirs, and those of a person whom the engine could not tell apart; what others and the engine said is shown."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    engine.does(
        Text("secret", role="person", speaker=1),
        Text("whose", role="person"),
        Text("open", role="person", speaker=2),
        Text("Yes."),
    )
    await settle()
    await call.session.forget(1)
    await clock.advance(5.0)
    await call.cancel()
    assert {event.text for event in call.told if isinstance(event, Caption)} == {"open", "Yes."}


@pytest.mark.parametrize("between", [False, True], ids=["while it is opened", "between two engines"])
async def test_an_engine_that_comes_later_is_told_whom_to_forget(clock: FakeClock, *, between: bool) -> None:
    """Before it hears anybody: its lease may remember what was said to another one."""
    opening = asyncio.Event()
    told_when_pushed: list[list[int]] = []

    def note() -> None:
        told_when_pushed.append(list(engine.forgotten))

    async def open_slowly() -> None:
        await opening.wait()

    engine = ScriptedEngine(clock, on_open=open_slowly, on_push=note)
    gone = [ScriptedEngine(clock, on_open=failing(EngineError("No.")))] if between else []
    call = Call(clock, *gone, engine)
    await call.start()
    await call.session.forget(1)
    assert engine.forgotten == []
    opening.set()
    await clock.advance(2.0)
    assert told_when_pushed
    assert all(forgotten == [1] for forgotten in told_when_pushed)
    await call.cancel()


async def test_a_pause_reaches_the_engine_and_people_s_words(clock: FakeClock) -> None:
    """The engine drops what it has not answered; words of people that nobody has read yet are never shown."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    engine.does(Text("not yet read", role="person", speaker=1), Text("for all", role="person"))
    await settle()
    await call.session.pause()
    assert engine.pauses == 1
    call.session.resume()
    await clock.advance(5.0)
    await call.cancel()
    assert not [event for event in call.told if isinstance(event, Caption)]


async def test_a_pause_holds_for_an_engine_that_is_being_opened(clock: FakeClock) -> None:
    """It opens, hears silence, and nothing it says is played or shown until the call goes on."""
    opening = asyncio.Event()

    async def open_slowly() -> None:
        await opening.wait()

    engine = ScriptedEngine(clock, on_open=open_slowly)
    call, sink = real_call(clock, engine)
    await call.start()
    await call.session.pause()
    opening.set()
    engine.does(Text("Hello?"), Audio(pcm_of_ms(80)))
    sink.write(bytes(DISCORD.bytes_of_ms(100)), 1)
    await clock.advance(1.0)
    assert engine.heard
    assert not any(frames for _, frames in engine.heard)
    assert call.source.pushed_samples == 0
    await call.cancel()
    assert not [event for event in call.told if isinstance(event, Caption)]


async def test_an_engine_that_cannot_forget_is_left(clock: FakeClock) -> None:
    """What it may still hold reaches nobody; the next engine is told before it hears anybody."""

    class Stubborn(ScriptedEngine):
        async def forget(self, speaker: int) -> None:
            raise ZeroDivisionError(speaker)

    stubborn, engine = Stubborn(clock), ScriptedEngine(clock)
    call = Call(clock, stubborn, engine)
    await call.start()
    with pytest.raises(ZeroDivisionError):
        await call.session.forget(1)
    await settle(40)
    assert stubborn.closed_at == clock.now()
    assert engine.forgotten == [1]
    await call.cancel()


async def test_ears_get_what_the_engine_gets(clock: FakeClock) -> None:
    """The same frames in the same ticks, silence included; while no engine is there, nothing that was said."""
    first, second, ears = (
        ScriptedEngine(clock),
        ScriptedEngine(clock, on_open=lambda: clock.sleep_until(clock.now() + 5)),
        ScriptedEars(clock),
    )
    call = Call(clock, first, second, ears=ears)
    for count in range(600):
        call.sink.will_hear(clock.now() + count * 0.02)
    await call.start()
    await clock.advance(1.0)
    assert [frames for _, frames in ears.heard][-len(first.heard) :] == [frames for _, frames in first.heard]
    assert not any(frames for _, frames in ears.heard[: -len(first.heard)])
    assert sum(bool(frames) for _, frames in ears.heard) > 40
    first.does(Closed("Gone."))
    await clock.advance(0.1)
    ears.heard.clear()
    await clock.advance(1.0)
    assert not any(frames for _, frames in ears.heard)
    await call.cancel()
    assert not ears.running


async def test_what_the_ears_hear_is_a_caption_and_their_trouble_is_told(clock: FakeClock) -> None:
    """Words come with their speaker and when they were said; a failure ends nothing."""
    engine, ears = ScriptedEngine(clock), ScriptedEars(clock)
    call = Call(clock, engine, ears=ears)
    await call.start()
    ears.tells(Text("Hello there.", role="person", speaker=2, final=True, item="heard-1", began_at=990.0))
    ears.tells(Problem("The transcription failed.", service="transcribe", cause="timeout"))
    await clock.advance(3.0)
    captions = [event for event in call.told if isinstance(event, Caption)]
    assert [(one.text, one.speaker, one.role, one.began_at) for one in captions if one.final] == [("Hello there.", 2, "person", 990.0)]
    assert [event for event in call.told if isinstance(event, Trouble)] == [Trouble("The transcription failed.", "transcribe", "timeout")]
    assert engine.closed_at is None
    await call.cancel()


async def test_stop_a_reset_and_an_opt_out_hold_for_the_ears(clock: FakeClock) -> None:
    """`pause` drops what they hold and waits for their requests, and they hear silence; `reset` drops it too; `forget` reaches them."""
    engine, ears = ScriptedEngine(clock), ScriptedEars(clock)
    call = Call(clock, engine, ScriptedEngine(clock), ears=ears)
    await call.start()
    await call.session.forget(2)
    assert ears.forgotten == engine.forgotten == [2]
    call.session.reset()
    await settle()
    assert ears.drops == 1
    await call.session.pause()
    assert (ears.drops, ears.stops) == (2, 1)
    ears.heard.clear()
    for count in range(50):
        call.sink.will_hear(clock.now() + count * 0.02)
    await clock.advance(1.0)
    assert len(ears.heard) == pytest.approx(50, abs=1)
    assert not any(frames for _, frames in ears.heard)
    await call.cancel()
