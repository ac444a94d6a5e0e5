"""From one engine conversation to the next: when, and what happens to everything meanwhile."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
import structlog

from discordplex.audio.format import ENGINE
from discordplex.audio.samples import int16_of
from discordplex.bridge.events import (
    Caption,
    Ended,
    EngineBack,
    EngineLost,
    HandedOver,
    Listening,
    Opening,
    Renewing,
    StillOpening,
    UnheardInRenewal,
)
from discordplex.bridge.retry import RetryRule
from discordplex.engine import Audio, Closed, EngineCaps, Persona, PersonaIgnored, Problem, Recap, RecapTurn, Text
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock, settle
from discordplex.tracing import ERROR_TYPE, HANDOVER, HANDOVER_RESULT, OPEN_ENGINE, UNHEARD_S
from tests.bridge.scripted import PERSONA, ScriptedEngine, nothing, pcm_of_ms
from tests.bridge.scripted_call import Call, failing
from tests.traced import recorded

pytestmark = pytest.mark.usefixtures("nothing_is_left")

FORGETFUL = EngineCaps(realtime_paced=True, memory_s=8)
SAMPLES = ENGINE.rate_hz * 80 // 1000
SILENCE = Audio(pcm_of_ms(80))
LOUD = Audio(np.full(SAMPLES, 8000, dtype="<i2").tobytes())
QUIET_S, BUSY_S = float("inf"), 0.0


class Handed(Call):
    """A call whose engines remember for 8 s: at 6 s the next conversation is due."""

    def __init__(self, clock: FakeClock, *engines: ScriptedEngine, spare: bool = True, rule: RetryRule | None = None) -> None:
        super().__init__(clock, *engines, rule=rule)
        self.lease.has_spare = spare
        self.engines = engines

    async def to_standby(self) -> None:
        """Until the next conversation is ready, while somebody speaks."""
        await self.start()
        self.sink.pause_s = BUSY_S
        await self.clock.advance(6.2)
        self.engines[1].does(SILENCE)
        await settle()

    def handed_over(self) -> list[HandedOver]:
        return [event for event in self.told if isinstance(event, HandedOver)]


def engines_of(clock: FakeClock, count: int = 3) -> list[ScriptedEngine]:
    return [ScriptedEngine(clock, caps=FORGETFUL) for _ in range(count)]


def slow(gate: asyncio.Event) -> Callable[[], Awaitable[None]]:
    """An opening that waits for the gate."""

    async def wait() -> None:
        await gate.wait()

    return wait


# With a second slot


async def test_the_next_conversation_takes_over_in_a_pause(clock: FakeClock) -> None:
    """It hears what the live one hears, nothing of what it says is played or told, and then it is the one that people talk with."""
    first, second, third = engines_of(clock)
    call = Handed(clock, first, second, third)
    await call.start()
    call.sink.pause_s = BUSY_S
    first.does(Text("Good evening."), SILENCE)
    await clock.advance(5.8)
    assert second.opened_at is None
    for count in range(100):
        call.sink.will_hear(clock.now() + count * 0.02)
    await clock.advance(0.4)
    second.does(Text("Not"), SILENCE, Problem("not this"), Text(" told"))
    call.source.play(80)
    await clock.advance(1.6)
    assert second.opened_at == pytest.approx(1006, abs=0.11)
    assert second.heard
    assert second.heard == first.heard[-len(second.heard) :]
    assert call.source.pushed_samples == SAMPLES
    call.sink.pause_s = QUIET_S
    await clock.advance(0.6)
    assert [type(event) for event in call.told] == [Opening, Listening, Caption, Caption, HandedOver]
    assert call.lease.recaps[1] == Recap((RecapTurn("Good evening."),))
    assert call.lease.personas == [PERSONA, PERSONA]
    assert call.lease.spares[0].end == "adopted"
    assert first.closed_at is not None
    assert second.closed_at is None
    second.does(Text("Now"), SILENCE)
    await clock.advance(0.3)
    call.source.play(80)
    await clock.advance(0.3)
    last = call.told[-1]
    assert isinstance(last, Caption)
    assert last.text == "Now"
    heard = len(first.heard)
    await clock.advance(5.5)
    assert third.opened_at is not None
    assert len(first.heard) == heard
    await call.cancel()
    assert [one.end for one in call.lease.spares] == ["adopted", "given back"]
    assert all(engine.closed_at for engine in (first, second, third))


async def test_a_conversation_that_cannot_be_left_well_disturbs_nobody(clock: FakeClock) -> None:
    """It fails as it is closed after the hand-over: the log has it, and people go on talking with the next one."""

    async def fail() -> None:
        raise RuntimeError("the socket was in an odd state")

    engines = engines_of(clock)
    engines[0] = ScriptedEngine(clock, caps=FORGETFUL, on_close=fail)
    call = Handed(clock, *engines)
    await call.to_standby()
    call.sink.pause_s = QUIET_S
    with structlog.testing.capture_logs() as lines:
        await clock.advance(0.6)
    assert len(call.handed_over()) == 1
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["engine did not close well"]
    heard = len(engines[1].heard)
    await clock.advance(0.2)
    assert len(engines[1].heard) > heard
    await call.cancel()


@pytest.mark.parametrize("who", ["people", "live", "next"])
async def test_nobody_is_cut_in_a_word(clock: FakeClock, who: str) -> None:
    """While one of the three speaks nothing is handed over; when all are silent for 400 ms it is."""
    call = Handed(clock, *engines_of(clock))
    await call.to_standby()
    call.sink.pause_s = BUSY_S if who == "people" else QUIET_S
    for _ in range(20):
        if who == "live":
            call.engines[0].does(LOUD)
        if who == "next":
            call.engines[1].does(LOUD)
        await clock.advance(0.08)
        call.source.play(60)
    assert not call.handed_over()
    call.sink.pause_s = QUIET_S
    call.source.play(1000)
    await clock.advance(0.7)
    assert len(call.handed_over()) == 1
    await call.cancel()


async def test_without_a_pause_one_voice_fades_into_the_other(clock: FakeClock) -> None:
    """At the end of the memory, over one block, which is as long as before and has no jump."""
    call = Handed(clock, *engines_of(clock))
    await call.to_standby()
    first, second = call.engines[:2]
    pushed: list[bytes] = []
    call.source.push = pushed.append  # type: ignore[method-assign]
    for _ in range(90):
        first.does(LOUD)
        second.does(Audio(int16_of(LOUD.pcm).__neg__().astype("<i2").tobytes()))
        await clock.advance(0.08)
        if call.handed_over():
            break
    second.does(LOUD)
    await settle()
    wave = np.concatenate([int16_of(pcm) for pcm in pushed]).astype(int)
    assert call.metrics.counter("handover.crossfaded").value == 1
    assert clock.now() == pytest.approx(1008.1, abs=0.3)
    assert np.abs(np.diff(wave)).max() < 10
    assert len(pushed[-1]) == len(LOUD.pcm)
    await call.cancel()


async def test_a_next_conversation_that_never_opens_is_given_up(clock: FakeClock) -> None:
    """A server that keeps it waiting: the conversation is renewed in place half a minute after the end of the memory."""
    call = Handed(clock, *engines_of(clock))
    call.engines[1]._on_open = slow(asyncio.Event())
    await call.start()
    await clock.advance(37.8)
    assert call.told == [Opening(), Listening()]
    await clock.advance(0.5)
    assert [type(event) for event in call.told[2:]] == [Renewing, HandedOver]
    assert call.engines[2].heard
    await call.cancel()


async def test_one_engines_sound_ends_where_the_other_ones_begins(clock: FakeClock) -> None:
    """Of the last block so much is played as lasts until the next engine's block comes: neither a hole nor a delay."""
    call = Handed(clock, *engines_of(clock))
    await fading(call)
    first, second = call.engines[:2]
    second.does(LOUD)
    await clock.advance(0.05)
    pushed = call.source.pushed_samples
    first.does(LOUD)
    await settle()
    assert call.source.pushed_samples - pushed == pytest.approx(SAMPLES * 3 / 8, abs=2)
    assert call.handed_over()
    second.does(LOUD)
    await settle()
    assert call.source.pushed_samples - pushed == pytest.approx(SAMPLES * 11 / 8, abs=2)
    await call.cancel()


async def test_a_next_conversation_without_sound_never_takes_over(clock: FakeClock) -> None:
    """A server may shake hands and then say nothing: that is for its own watchdog to find."""
    call = Handed(clock, *engines_of(clock))
    await call.start()
    await clock.advance(9)
    assert call.engines[1].opened_at is not None
    assert not call.handed_over()
    call.engines[1].does(Closed("Stalled."))
    await clock.advance(1.9)
    assert not call.engines[2].heard
    await clock.advance(0.3)
    assert call.engines[2].heard
    assert [type(event) for event in call.told] == [Opening, Listening]
    await call.cancel()


async def test_a_server_that_always_fails_is_left_in_peace(clock: FakeClock) -> None:
    """Four tries with growing pauses, then the conversation goes on in place, and nobody was told of any of it."""
    call = Handed(
        clock, *engines_of(clock, 1), *(ScriptedEngine(clock, on_open=failing(EngineError("No."))) for _ in range(4)), *engines_of(clock, 1)
    )
    await call.start()
    await clock.advance(23)
    assert call.metrics.counter("handover.failed").value == 4
    assert [type(event) for event in call.told[:4]] == [Opening, Listening, Renewing, HandedOver]
    assert {spare.end for spare in call.lease.spares[:4]} == {"given back"}
    await call.cancel()


async def test_what_a_server_says_of_the_persona_while_it_stands_by_is_told_when_it_takes_over(clock: FakeClock) -> None:
    """People must not read the name of a voice that they do not hear."""
    call = Handed(clock, *engines_of(clock))
    await call.to_standby()
    call.engines[1].does(PersonaIgnored())
    call.sink.pause_s = QUIET_S
    await clock.advance(0.6)
    assert call.told[-2:] == [HandedOver(), PersonaIgnored()]
    await call.cancel()


async def test_a_slot_that_is_taken_back_is_left_at_once(clock: FakeClock) -> None:
    """Nobody is told; the live conversation goes on, and in place where no slot comes back."""
    call = Handed(clock, *engines_of(clock))
    await call.to_standby()
    call.lease.has_spare = False
    call.lease.spares[0].lose()
    await settle()
    assert call.engines[1].closed_at == clock.now()
    assert call.engines[0].closed_at is None
    call.sink.pause_s = QUIET_S
    await clock.advance(3.3)
    assert [type(event) for event in call.told] == [Opening, Listening, Renewing, HandedOver]
    await call.cancel()


async def test_a_slot_that_is_taken_back_in_a_crossfade_leaves_the_live_one_whole(clock: FakeClock) -> None:
    """The block that was to fade out is played, and those after it."""
    call = Handed(clock, *engines_of(clock))
    await fading(call)
    assert not call.handed_over()
    pushed = call.source.pushed_samples
    call.lease.has_spare = False
    call.lease.spares[0].lose()
    call.engines[0].does(*[LOUD] * 3)
    await settle()
    assert call.source.pushed_samples - pushed == 3 * SAMPLES
    assert not call.handed_over()
    await call.cancel()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_in_any_order(clock: FakeClock, seed: int) -> None:  # noqa: C901, PLR0912 -- a table of what may happen
    """At most one engine is live and one stands by, and at the end everything is left and given back."""
    chance = random.Random(seed)
    engines = [ScriptedEngine(clock, caps=EngineCaps(realtime_paced=True, memory_s=2)) for _ in range(60)]
    for engine in engines:
        if chance.random() < 0.3:
            engine._on_open = failing(EngineError("No.")) if chance.random() < 0.5 else sleeping(clock, chance.random() * 3)
    call = Handed(clock, *engines)
    await call.start()
    for _ in range(60):
        opened = [engine for engine in engines if engine.opened_at is not None and engine.closed_at is None]
        assert len(opened) <= 3  # live, next, and one that is closing
        match chance.randrange(9):
            case 0:
                call.sink.pause_s = chance.choice([QUIET_S, BUSY_S])
            case 1 if opened:
                chance.choice(opened).does(Closed("Gone."))
            case 2:
                call.lease.has_spare = not call.lease.has_spare
            case 3 if call.lease.spares and not call.lease.spares[-1].end:
                call.lease.spares[-1].lose()
            case 4:
                await call.session.forget(1)
            case 5:
                call.session.reset()
            case 6:
                await (call.session.pause() if chance.random() < 0.5 else nothing())
                call.session.resume()
            case _:
                for engine in opened:
                    engine.does(chance.choice([LOUD, SILENCE]), Text(" word"))
        call.source.play(1000)
        await clock.advance(chance.random())
        if call.task and call.task.done():
            break
    assert isinstance(call.told[0], Opening)
    if call.task and not call.task.done():
        await end(call)
    assert isinstance(call.told[-1], Ended)
    assert call.told[-1] in (Ended(None), Ended("No."), Ended("Gone."))
    assert all(engine.closed_at is not None for engine in engines if engine.opened_at is not None)
    assert all(spare.end for spare in call.lease.spares)


# Every state, and what may happen in it


async def opening(call: Handed) -> None:
    """The next conversation is being opened, and never will be."""
    call.engines[1]._on_open = slow(asyncio.Event())
    await call.start()
    call.sink.pause_s = BUSY_S
    await call.clock.advance(6.2)


async def standing_by(call: Handed) -> None:
    """It is ready."""
    await call.to_standby()


async def fading(call: Handed) -> None:
    """It takes over with the next block of the live one."""
    await call.to_standby()
    live = call.session._handover.downlink
    assert live is not None
    for _ in range(200):
        call.engines[0].does(LOUD)
        await call.clock.advance(0.02)
        if live.keeps_tail:
            return
    pytest.fail("nothing fades")


async def closing(call: Handed) -> None:
    """It has taken over, and the old one does not close."""
    call.engines[0]._on_close = slow(asyncio.Event())
    await call.to_standby()
    call.sink.pause_s = QUIET_S
    await call.clock.advance(0.6)
    assert call.handed_over()
    call.sink.pause_s = BUSY_S


async def renewing(call: Handed) -> None:
    """It is opened in place of the old one."""
    call.lease.has_spare = False
    call.engines[1]._on_open = slow(asyncio.Event())
    await call.start()
    await call.clock.advance(6.2)
    assert isinstance(call.told[-1], Renewing)


STATES = [opening, standing_by, fading, closing, renewing]
PIRATE = Persona("NATM0.pt", "You are a pirate.")


@pytest.mark.parametrize("state", STATES)
async def test_the_call_may_end(clock: FakeClock, state: Callable[[Handed], Awaitable[None]]) -> None:
    """Every conversation is left within two seconds, every slot is given back, and no task is left."""
    call = Handed(clock, *engines_of(clock))
    await state(call)
    assert call.task
    call.task.cancel()
    await clock.advance(2.1)
    assert call.task.done()
    assert call.told[-1] == Ended(None)
    assert all(engine.closed_at or engine is call.engines[0] for engine in call.engines if engine.opened_at)
    assert all(spare.end for spare in call.lease.spares)


@pytest.mark.parametrize("state", STATES)
async def test_another_persona_may_be_wanted(clock: FakeClock, state: Callable[[Handed], Awaitable[None]]) -> None:
    """It is opened on the call's own slot, once, and nothing of the old persona takes over later."""
    call = Handed(clock, *engines_of(clock))
    await state(call)
    call.session.restart(PIRATE)
    await clock.advance(2.5)
    assert call.lease.personas[-1] == PIRATE
    assert call.engines[2].opened_at is not None
    assert all(spare.end for spare in call.lease.spares)
    assert call.engines[2].heard
    assert isinstance(call.told[-1], EngineBack | Caption)
    await call.cancel()


@pytest.mark.parametrize("state", STATES)
async def test_a_pause_holds_for_both(clock: FakeClock, state: Callable[[Handed], Awaitable[None]]) -> None:
    """Nothing that either says is played, both hear silence; afterwards people are heard again."""
    call = Handed(clock, *engines_of(clock))
    await state(call)
    await call.session.pause()
    pushed = call.source.pushed_samples
    for engine in call.engines[:2]:
        engine.does(LOUD, Text("No."))
        engine.heard.clear()
    for count in range(20):
        call.sink.will_hear(clock.now() + count * 0.02)
    await clock.advance(0.5)
    assert call.source.pushed_samples == pushed
    assert not any(frames for engine in call.engines for _, frames in engine.heard)
    call.session.resume()
    for count in range(20):
        call.sink.will_hear(clock.now() + count * 0.02)
    await clock.advance(0.5)
    heard = [engine for engine in call.engines if any(frames for _, frames in engine.heard)]
    assert heard or state is renewing
    await end(call)


@pytest.mark.parametrize("state", [opening, standing_by, fading])
async def test_an_opt_out_leaves_what_was_told_their_words(clock: FakeClock, state: Callable[[Handed], Awaitable[None]]) -> None:
    """The next conversation is prepared anew, without them, and without what the engine said to them."""
    call = Handed(clock, *engines_of(clock))
    call.session._captions.add(Text("I am Ann.", role="person", speaker=1, final=True), position=0, now=0)
    call.session._captions.add(Text("I am Ben.", role="person", speaker=2, final=True), position=0, now=0)
    call.session._captions.add(Text("Hello Ann.", final=True), position=0, now=0)
    await state(call)
    assert [turn.text for turn in call.lease.recaps[1].turns] == ["I am Ann.", "I am Ben.", "Hello Ann."]
    await call.session.forget(1)
    assert call.engines[0].forgotten == [1]
    await clock.advance(0.3)
    assert call.lease.spares[0].end == "given back"
    assert [turn.text for turn in call.lease.recaps[2].turns] == ["I am Ben."]
    assert call.engines[2].opened_at is not None
    await end(call)


@pytest.mark.parametrize("state", STATES)
async def test_a_reset_forgets_at_once(clock: FakeClock, state: Callable[[Handed], Awaitable[None]]) -> None:
    """The model cannot forget, so its conversation starts over, and nothing of the old one is told to any that follows."""
    call = Handed(clock, *engines_of(clock))
    call.session._captions.add(Text("Hello.", final=True), position=0, now=0)
    await state(call)
    assert call.lease.recaps[1]
    assert call.session.reset()
    await clock.advance(2.5)
    assert not call.lease.recaps[2]
    assert call.engines[2].opened_at is not None
    assert all(spare.end for spare in call.lease.spares)
    await end(call)


@pytest.mark.parametrize("by", ["reset", "opt-out"])
async def test_what_the_engine_was_saying_is_forgotten_whole(clock: FakeClock, by: str) -> None:
    """A caption that is still growing does not bring back its beginning; what is said afterwards is a caption of its own."""
    call = Handed(clock, *engines_of(clock))
    await call.start()
    call.engines[0].does(Text("Ann has a secret."))
    await clock.advance(0.3)
    if by == "reset":
        assert call.session.reset()
    else:
        await call.session.forget(1)
    await clock.advance(0.3)
    live = call.engines[1 if by == "reset" else 0]
    live.does(Text(" Good evening."))
    await clock.advance(6.2)
    assert [turn.text for turn in call.lease.recaps[-1].turns] == ["Good evening."]
    assert [event.text for event in call.told if isinstance(event, Caption) and event.final] == ["Ann has a secret.", "Good evening."]
    await end(call)


async def test_an_opt_out_while_the_next_conversation_opens_in_place_of_the_last_one(clock: FakeClock) -> None:
    """It had been told their words, so it is opened again without them; the second time there is nothing to take out."""
    call = Handed(clock, *engines_of(clock))
    call.session._captions.add(Text("I am Ann.", role="person", speaker=1, final=True), position=0, now=0)
    await renewing(call)
    assert call.lease.recaps[1]
    for _ in range(3):
        await call.session.forget(1)
        await clock.advance(0.3)
    assert not call.lease.recaps[2]
    assert len(call.lease.recaps) == 3
    assert call.engines[2].forgotten
    assert call.session._handover.engine is call.engines[2]
    await end(call)


async def test_an_engine_that_takes_turns_forgets_without_starting_over(clock: FakeClock) -> None:
    """Its history is in its lease."""
    call = Call(clock, ScriptedEngine(clock, caps=EngineCaps(realtime_paced=False)))
    await call.start()
    assert not call.session.reset()
    await clock.advance(0.1)
    assert call.told == [Opening(), Listening()]
    await call.cancel()


@pytest.mark.parametrize("retry", [True, False])
async def test_the_next_conversation_takes_over_at_once_where_the_live_one_is_lost(clock: FakeClock, retry: bool) -> None:  # noqa: FBT001
    """In the middle of a word, and without a sentence: nobody misses anything."""
    call = Handed(clock, *engines_of(clock))
    await call.to_standby()
    call.engines[0].does(Closed("Gone.", retry=retry))
    await settle()
    assert call.told == [Opening(), Listening(), HandedOver()]
    assert call.lease.spares[0].end == "adopted"
    await clock.advance(0.1)
    assert call.engines[1].heard
    await call.cancel()


async def test_a_loss_while_the_next_conversation_opens_waits_for_it(clock: FakeClock) -> None:
    """People are told, and are heard again as soon as it is ready; a wish to try again at once does not disturb it."""
    call = Handed(clock, *engines_of(clock))
    gate = asyncio.Event()
    call.engines[1]._on_open = slow(gate)
    await call.start()
    call.sink.pause_s = BUSY_S
    await clock.advance(6.2)
    call.engines[0].does(Closed("Gone."))
    await settle()
    call.session.try_now()
    await settle()
    assert call.told[2:] == [EngineLost("Gone.", 0.0)]
    gate.set()
    await settle()
    assert call.told[3:] == [HandedOver(), EngineBack()]
    assert call.engines[0].closed_at is not None
    await call.cancel()


async def test_a_loss_while_the_next_conversation_opens_and_fails(clock: FakeClock) -> None:
    """The engine is tried again as after any loss."""
    call = Handed(clock, *engines_of(clock))
    await opening(call)
    call.engines[0].does(Closed("Gone."))
    await settle()
    call.lease.spares[0].lose()
    await settle(40)
    assert call.told[2:] == [EngineLost("Gone.", 0.0), EngineLost("Gone.", 1)]
    await clock.advance(1.1)
    assert call.told[4:] == [EngineBack()]
    assert call.engines[2].heard
    await call.cancel()


async def test_a_loss_while_the_old_one_closes(clock: FakeClock) -> None:
    """The new one's loss is a loss as any other; the old one's end is nobody's business any more."""
    call = Handed(clock, *engines_of(clock))
    await closing(call)
    call.engines[0].does(Closed("Old."))
    call.engines[1].does(Closed("Gone."))
    await clock.advance(3.2)
    assert call.told[3:] == [EngineLost("Gone.", 1), EngineBack()]
    await end(call)


async def test_a_live_one_that_is_lost_while_it_fades(clock: FakeClock) -> None:
    """The next one takes over without the block that never came."""
    call = Handed(clock, *engines_of(clock))
    await fading(call)
    call.engines[0].does(Closed("Gone."))
    await settle()
    assert len(call.handed_over()) == 1
    call.engines[1].does(LOUD)
    await settle()
    await end(call)


async def end(call: Handed) -> None:
    """End the call, whose engines may be stuck."""
    assert call.task
    call.task.cancel()
    await call.clock.advance(2.1)
    assert call.task.done()


# In place


async def test_without_a_second_slot_it_is_renewed_in_a_long_pause(clock: FakeClock) -> None:
    """Told before and after, with how long nobody was heard; the old one is closed before the new one is opened."""
    first, second, third = engines_of(clock)
    call = Handed(clock, first, second, third, spare=False)
    second._on_open = sleeping(clock, 4)
    await call.start()
    call.sink.pause_s = 2.0
    await clock.advance(7)
    assert call.told == [Opening(), Listening()]
    first.does(Text("Well."), SILENCE)
    await settle()
    call.source.play(80)
    call.sink.pause_s = QUIET_S
    await clock.advance(0.3)
    assert [event for event in call.told[2:] if not isinstance(event, Caption)] == [Renewing()]
    assert first.closed_at is not None
    await clock.advance(4)
    assert second.opened_at is not None
    assert second.opened_at >= first.closed_at
    renewed = call.told[-1]
    assert isinstance(renewed, HandedOver)
    assert renewed.in_place
    assert renewed.unheard_s == pytest.approx(4, abs=0.1)
    assert call.lease.recaps[1] == Recap((RecapTurn("Well."),))
    assert second.heard
    await call.cancel()


async def test_somebody_who_speaks_while_it_is_renewed_is_told_once(clock: FakeClock) -> None:
    """And `StillOpening` comes where it takes very long, as for any opening."""
    call = Handed(clock, *engines_of(clock), spare=False)
    call.engines[1]._on_open = sleeping(clock, 20)
    await call.start()
    await clock.advance(6.2)
    call.sink.pause_s = BUSY_S
    await clock.advance(18)
    assert call.told[2:] == [Renewing(), UnheardInRenewal(), StillOpening(15.0)]
    await call.cancel()


async def test_a_renewal_that_fails_is_a_loss_as_any_other(clock: FakeClock) -> None:
    """The engine is tried again, with the recap."""
    call = Handed(clock, *engines_of(clock), spare=False)
    call.engines[1]._on_open = failing(EngineError("No."))
    await call.start()
    await clock.advance(6.2)
    assert call.told[2:] == [Renewing(), EngineLost("No.", 1)]
    await clock.advance(1.1)
    assert call.told[4:] == [EngineBack()]
    await call.cancel()


async def test_who_speaks_without_end_is_cut_at_last(clock: FakeClock) -> None:
    """Half a minute after the end of the memory, and never before."""
    call = Handed(clock, *engines_of(clock), spare=False)
    await call.start()
    call.sink.pause_s = BUSY_S
    await clock.advance(37.8)
    assert call.told == [Opening(), Listening()]
    await clock.advance(0.4)
    assert [type(event) for event in call.told[2:]] == [Renewing, UnheardInRenewal, HandedOver]
    await call.cancel()


async def test_an_engine_without_an_end_is_never_handed_over(clock: FakeClock) -> None:
    """And costs nothing: nobody is asked for a second slot."""
    call = Call(clock, ScriptedEngine(clock))
    call.lease.has_spare = True
    await call.start()
    await clock.advance(60)
    assert call.told == [Opening(), Listening()]
    assert not call.lease.spares
    await call.cancel()


def sleeping(clock: FakeClock, seconds: float) -> Callable[[], Awaitable[None]]:
    """An opening that takes so long."""

    async def sleep() -> None:
        await clock.sleep_until(clock.now() + seconds)

    return sleep


# Traces


@pytest.mark.parametrize("spare", [True, False])
async def test_a_hand_over_is_a_span_with_the_opening_in_it(clock: FakeClock, spare: bool) -> None:  # noqa: FBT001 -- the two ways
    """Beside the live conversation, or in its place; the first opening is below the call itself."""
    async with recorded() as found:
        call = Handed(clock, *engines_of(clock), spare=spare)
        call.metrics.span = found.root
        await (call.to_standby() if spare else call.start())
        call.sink.pause_s = QUIET_S
        await clock.advance(4 if spare else 7)
        assert call.handed_over()
        await call.cancel()
        assert found.paths() == [OPEN_ENGINE, HANDOVER, f"{HANDOVER} > {OPEN_ENGINE}"]
        (handed_over,) = found.named(HANDOVER)
        expected = {HANDOVER_RESULT: "taken over"} if spare else {HANDOVER_RESULT: "renewed", UNHEARD_S: 0.0}
        assert dict(handed_over.attributes) == expected


async def test_a_next_conversation_that_fails_is_a_hand_over_that_was_dropped(clock: FakeClock) -> None:
    """With the code of the failure, also of its opening."""
    async with recorded() as found:
        call = Handed(clock, *engines_of(clock))
        call.metrics.span = found.root
        call.engines[1]._on_open = failing(EngineError("No.", cause="busy"))
        await call.start()
        await clock.advance(6.5)
        await call.cancel()
        (handed_over,) = found.named(HANDOVER)
        assert dict(handed_over.attributes) == {HANDOVER_RESULT: "dropped", ERROR_TYPE: "busy"}
        assert [span.attributes.get(ERROR_TYPE) for span in found.named(OPEN_ENGINE)] == [None, "busy"]
