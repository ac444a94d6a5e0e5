"""Every way in which a call can end: asked, cancelled, by a bug, beside a stuck engine."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
from structlog.testing import capture_logs

from discordplex.bridge.events import CallEvent, Ended, Listening, Opening
from discordplex.bridge.session import INTERNAL_ERROR
from discordplex.engine import Closed
from discordplex.errors import EngineError, LocalProtocolError
from discordplex.loopback.clock import FakeClock, settle
from tests.bridge.scripted import PERSONA, ScriptedEngine
from tests.bridge.scripted_call import Call, failing, for_ever

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.parametrize("bug", [LocalProtocolError("sent before the handshake"), ZeroDivisionError("bug")])
async def test_a_bug_in_one_part_ends_the_call_with_its_cause_kept(clock: FakeClock, bug: Exception) -> None:
    """A failing uplink stops its siblings, closes the engine and tells one sentence; the log has the one cause with its traceback."""

    def fail() -> None:
        raise bug

    engine = ScriptedEngine(clock, on_push=fail)
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


def closing_takes(clock: FakeClock, seconds: float) -> Callable[[], Awaitable[None]]:
    """An engine's `on_close` that takes so long."""

    async def close() -> None:
        await clock.sleep_until(clock.now() + seconds)

    return close


async def test_closing_is_not_cut_short_by_what_caused_it(clock: FakeClock) -> None:
    """An engine that needs a second to say good-bye gets it, whoever ends the call: a cancelled task, a cancelled scope, or `stop`."""
    for way in ("task", "scope", "stop"):
        engine = ScriptedEngine(clock, on_close=closing_takes(clock, 1))
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
    engine = ScriptedEngine(clock, on_close=closing_takes(clock, 1))
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


async def test_a_cancellation_while_a_lost_engine_closes_is_kept(clock: FakeClock) -> None:
    """The call that is cancelled while it tidies up after a lost engine ends with it, instead of opening the engine again."""
    engine = ScriptedEngine(clock, on_close=closing_takes(clock, 1))
    call = Call(clock, engine)
    await call.start()
    engine.does(Closed("Gone."))
    await clock.advance(0.5)
    assert call.task
    call.task.cancel()
    await clock.advance(5)
    assert call.task.cancelled()
    assert call.told == [Opening(), Listening(), Ended(None)]


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_right_after_a_restart_is_kept(clock: FakeClock, turns: int) -> None:
    """However soon a call is cancelled after it was told to restart, it ends, and leaves the engine that it has by then."""
    first, second = ScriptedEngine(clock), ScriptedEngine(clock)
    call = Call(clock, first, second)
    await call.start()
    call.session.restart(PERSONA)
    await settle(turns)
    assert call.task
    call.task.cancel()
    await clock.advance(5)
    assert call.task.cancelled()
    assert first.closed_at is not None
    assert (second.opened_at is None) == (second.closed_at is None)
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

    call.session._tell = call.session._handover._tell = hear
    with capture_logs():
        await call.start()
        await settle()
    assert told[-1] == Ended(INTERNAL_ERROR)
    assert engine.closed_at is not None
