"""One call's lifetime, with an engine that does what the test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest
from structlog.testing import capture_logs

from discordplex.bridge.events import CallEvent, Caption, Ended, EngineBack, EngineLost, Listening, Opening, Trouble
from discordplex.bridge.retry import RetryRule
from discordplex.bridge.session import INTERNAL_ERROR, VoiceSession
from discordplex.engine import Audio, Closed, Interrupted, Problem, Text
from discordplex.errors import EngineError, LocalProtocolError
from discordplex.loopback.clock import FakeClock, settle
from discordplex.metrics import Metrics
from tests.bridge.scripted import PERSONA, ScriptedEngine, ScriptedLease, ScriptedLink, ScriptedSink, ScriptedSource, pcm_of_ms


def failing(error: BaseException) -> Callable[[], Awaitable[None]]:
    """A step that raises."""

    async def fail() -> None:
        raise error

    return fail


async def for_ever() -> None:
    """A step that never ends by itself."""
    await asyncio.get_running_loop().create_future()


class Call:
    """A session with everything around it, run as a task."""

    def __init__(self, clock: FakeClock, *engines: ScriptedEngine, rule: RetryRule | None = None) -> None:
        self.clock = clock
        self.metrics = Metrics()
        self.lease = ScriptedLease(*engines)
        self.sink, self.source, self.link = ScriptedSink(clock), ScriptedSource(), ScriptedLink(1, 2)
        self.told: list[CallEvent] = []
        self.session = VoiceSession(
            lease=self.lease,
            persona=PERSONA,
            sink=self.sink,
            source=self.source,
            link=self.link,
            on_event=self.told.append,
            clock=clock,
            metrics=self.metrics,
            retry_rule=rule,
            chance=lambda: 0.0,
        )
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run the session as a task, up to where it waits for time."""
        self.task = asyncio.create_task(self.session.run())
        await settle()

    async def cancel(self) -> None:
        """End the call as the bot does."""
        assert self.task
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """Every call here ends without a task of its own."""
    before = asyncio.all_tasks()
    yield
    await settle()
    left = {task.get_name() for task in asyncio.all_tasks() - before - {asyncio.current_task()}}
    assert not left


async def test_a_call_from_beginning_to_end(clock: FakeClock) -> None:
    """Opening, listening, captions as they are heard, and an end as asked that closes the engine and lets the cancellation pass."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    await call.start()
    engine.does(Text(" Hel"), Audio(pcm_of_ms(80)), Text("lo"), Audio(pcm_of_ms(80)), Text(" you"))
    await clock.advance(0.1)
    assert call.told == [Opening(), Listening(), Caption(1, "Hel", final=False, speaker=None)]
    call.source.play(80)
    await clock.advance(0.1)
    await call.cancel()
    assert call.told[3:] == [
        Caption(1, "Hello", final=False, speaker=None),
        Caption(1, "Hello you", final=True, speaker=None),
        Ended(None),
    ]
    assert engine.closed_at == clock.now()


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
    assert call.told[3:] == [Caption(1, "half a", final=True, speaker=None), EngineBack()]
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
    assert call.told[2:] == [Caption(1, "Good bye.!", final=True, speaker=None), Ended("Your time is over.")]


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


@pytest.mark.parametrize("bug", [LocalProtocolError("sent before the handshake"), ZeroDivisionError("bug")])
async def test_a_bug_in_one_part_ends_the_call_with_its_cause_kept(clock: FakeClock, bug: Exception) -> None:
    """A failing uplink stops its siblings, closes the engine and tells one sentence; the log has the one cause with its traceback."""
    engine = ScriptedEngine(clock, on_push=failing(bug))
    call = Call(clock, engine)
    with capture_logs() as logs:
        await call.start()
        await clock.advance(0.1)
    assert call.told[-1] == Ended(INTERNAL_ERROR)
    assert call.task
    assert call.task.result() is None
    assert engine.closed_at is not None
    assert [(entry["event"], entry["log_level"], entry["exc_info"]) for entry in logs] == [("call failed", "error", bug)]
    assert bug.__traceback__ is not None


async def test_a_stuck_engine_cannot_hold_the_end(clock: FakeClock) -> None:
    """An engine that never finishes closing is given two seconds, then the call ends all the same."""
    engine = ScriptedEngine(clock, on_close=for_ever)
    call = Call(clock, engine)
    await call.start()
    assert call.task
    call.task.cancel()
    with capture_logs() as logs:
        await clock.advance(1.9)
        assert not call.task.done()
        await clock.advance(0.2)
    assert call.task.cancelled()
    assert call.told[-1] == Ended(None)
    assert [entry["event"] for entry in logs] == ["engine did not close in time"]


async def test_closing_is_not_cut_short_by_what_caused_it(clock: FakeClock) -> None:
    """An engine that needs a second to say good-bye gets it, whoever ends the call: a cancelled task, a cancelled scope, or `stop`."""

    async def say_good_bye() -> None:
        await clock.sleep_until(clock.now() + 1)

    for way in ("task", "scope", "stop"):
        engine = ScriptedEngine(clock, on_close=say_good_bye)
        call = Call(clock, engine)
        began = clock.now()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.session.run)
            await settle()
            if way == "stop":
                call.session.stop()
            else:
                tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await clock.advance(1.5)
        assert engine.closed_at == began + 1
        assert call.told[-1] == Ended(None)


async def test_asking_twice_does_not_cut_the_closing_short(clock: FakeClock) -> None:
    """A second cancellation waits for the engine's good-bye as the first one does, and passes after it."""

    async def say_good_bye() -> None:
        await clock.sleep_until(clock.now() + 1)

    engine = ScriptedEngine(clock, on_close=say_good_bye)
    call = Call(clock, engine)
    await call.start()
    assert call.task
    call.task.cancel()
    await clock.advance(0.5)
    call.task.cancel()
    await clock.advance(0.4)
    assert not call.task.done()
    await clock.advance(0.2)
    assert call.task.cancelled()
    assert engine.closed_at == 1001
    assert call.told[-1] == Ended(None)


async def test_an_engine_that_cannot_even_close_ends_the_call_as_a_bug(clock: FakeClock) -> None:
    """Closing never raises, says the port; an engine that breaks this is an internal error with its cause in the log."""
    engine = ScriptedEngine(clock, on_close=failing(ZeroDivisionError("bug")))
    call = Call(clock, engine)
    await call.start()
    engine.does(Closed("Gone."))
    with capture_logs() as logs:
        await clock.advance(0.1)
    assert call.told[-1] == Ended(INTERNAL_ERROR)
    assert [type(entry["exc_info"]) for entry in logs] == [ZeroDivisionError]


async def test_stop_is_idempotent(clock: FakeClock) -> None:
    """`stop` ends the call without cancelling its task; before, during and after, as often as one likes."""
    call = Call(clock, ScriptedEngine(clock))
    await call.start()
    call.session.stop()
    call.session.stop()
    assert call.task
    await call.task
    call.session.stop()
    assert call.told == [Opening(), Listening(), Ended(None)]
    early = Call(clock)
    early.session.stop()
    await early.session.run()
    assert early.told == [Ended(None)]


@pytest.mark.parametrize("moment", ["opening", "waiting"])
async def test_a_call_can_be_ended_at_any_moment(clock: FakeClock, moment: str) -> None:
    """Cancelled while the engine opens, or while a lost one is waited for: it ends as asked."""
    first = for_ever if moment == "opening" else failing(EngineError("No."))
    call = Call(clock, ScriptedEngine(clock, on_open=first))
    await call.start()
    await clock.advance(0.3)
    await call.cancel()
    assert call.told[-1] == Ended(None)


async def test_a_deaf_listener_ends_only_its_own_call(clock: FakeClock) -> None:
    """A receiver of events that raises is a bug as any other: the call ends, the engine is closed."""
    engine = ScriptedEngine(clock)
    call = Call(clock, engine)
    told: list[CallEvent] = []

    def hear(event: CallEvent) -> None:
        told.append(event)
        if isinstance(event, Listening):
            raise KeyError

    call.session._tell = hear
    with capture_logs():
        await call.start()
    assert told[-1] == Ended(INTERNAL_ERROR)
    assert engine.closed_at is not None


async def test_who_left_is_forgotten(clock: FakeClock) -> None:
    """What the sink keeps about a person goes when the person goes."""
    call = Call(clock, ScriptedEngine(clock))
    await call.start()
    call.link.people = frozenset({2, 3})
    await clock.advance(0.2)
    assert call.sink.forgotten == [1]
    await call.cancel()
