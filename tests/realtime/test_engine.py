"""The Realtime engine against the stand-in: sessions that follow each other, and their end."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from discordplex.engine import BUSY, Closed, Interrupted, PlaybackHeld, PlaybackResumed, Problem, TurnTakingLease
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.openai.realtime import faults
from discordplex.loopback.openai.realtime.faults import RealtimeFault
from discordplex.loopback.openai.realtime.log import AudioAppended, SessionClosed, SessionConnected, UpgradeRefused
from discordplex.loopback.openai.realtime.replies import talk
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.realtime import session
from tests.realtime.harness import ANNA, BERT, Call, calling, eventually, provider_of
from tests.realtime.test_session import answered


async def test_leaving_is_a_close_handshake(clock: FakeClock) -> None:
    """The server sees close code 1000."""
    async with RealtimeServer(times_real_time=1000) as server:
        async with calling(server, clock) as call:
            await call.say(200)
        await eventually(lambda: server.log.of(SessionClosed))
        assert [record.code for record in server.log.of(SessionClosed)] == [1000]


async def test_sessions_follow_each_other_and_the_conversation_goes_on(clock: FakeClock) -> None:
    """The service ends a session after 20 s; after 90 s the last one knows what was said in the first, and nobody was told of a loss."""
    hears = "My name is Anna."
    async with RealtimeServer(session_s=20.0, hears=lambda _: hears, clock=clock) as server, calling(server, clock) as call:
        await call.say(1000, ANNA)
        await call.say(3000)
        assert hears in [text for text, _ in call.words("person")]
        for number in range(1, 5):
            while len(server.log.of(SessionClosed)) < number:
                await call.say(200)
            await eventually(lambda: len(server.sessions) > len(server.log.of(SessionClosed)))
            await call.say(1000)
        assert any(hears in item.text for item in server.sessions[-1].items)
        await call.say(1000, ANNA)
        await call.say(3000)
        assert answered(call, 2)
        assert not call.told(Problem)
        assert not server.violations


@pytest.mark.parametrize(
    ("fault", "cause", "retry"),
    [(faults.WRONG_KEY, "bad key", False), (RealtimeFault(code="resource_exhausted"), BUSY, True)],
    ids=["key", "busy"],
)
async def test_a_call_whose_next_session_is_refused_is_over(clock: FakeClock, fault: RealtimeFault, cause: str, *, retry: bool) -> None:
    """The call is told why, and judges for itself."""
    async with (
        RealtimeServer(session_s=20.0, times_real_time=1000, clock=clock) as server,
        calling(server, clock, dialect="openai") as call,
    ):
        server.fail(fault)
        await call.say(19_500)
        await clock.advance(1)
        closed = await call.closed()
        assert (closed.cause, closed.retry) == (cause, retry)
        assert closed.reason.endswith(".")


async def test_a_reply_that_is_held_when_its_session_ends_goes_on(clock: FakeClock) -> None:
    """Somebody coughs at that moment: the rest of the reply is heard."""
    async with (
        RealtimeServer(session_s=20.0, replies=talk(10), times_real_time=1000, clock=clock) as server,
        calling(server, clock) as call,
    ):
        await call.say(15_000)
        await call.say(1000, ANNA)
        await call.say(700)
        await call.until(answered)
        while not call.told(PlaybackHeld):
            await call.say(3200)
            await call.say(100, ANNA)
        await clock.advance(0.5)
        await call.until(lambda call: call.told(PlaybackResumed))
        assert not call.told(Interrupted)
        await eventually(lambda: len(server.sessions) == 2)


async def test_a_session_that_will_end_is_followed_in_a_pause(clock: FakeClock) -> None:
    """The service says when: the next session is open, and knows what was said, before the first is closed; no sound of anybody is lost."""
    hears = "My name is Anna."
    async with RealtimeServer(session_s=600.0, hears=lambda _: hears, times_real_time=1000, clock=clock) as server:
        async with calling(server, clock) as call:
            await call.say(1000, ANNA)
            await call.say(3000)
            await clock.advance(535)
            await call.say(8000, ANNA, BERT)
            assert len(server.sessions) == 1
            await call.until(lambda call: answered(call, 1))
            await call.say(700)
            await call.until(lambda call: answered(call, 2))
            while not server.log.of(SessionClosed):
                await call.say(100)
            assert clock.now() < 1000 + 600
            assert [record.code for record in server.log.of(SessionClosed)] == [1000]
            assert hears in server.sessions[1].items[0].text
            assert call.metrics.counter("engine.frames_sent").value == sum(1 for _ in server.log.of(AudioAppended))
            await call.say(1000, ANNA)
            await call.say(700)
            await call.until(lambda call: answered(call, 3))
        assert not server.violations


@pytest.mark.parametrize("fault", [faults.BUSY, RealtimeFault(code="resource_exhausted"), RealtimeFault(silent=True)], ids=str)
async def test_a_next_session_that_does_not_begin_costs_nothing(clock: FakeClock, fault: RealtimeFault) -> None:
    """The last one goes on until its end; another is tried after a while, and not at once."""
    async with (
        RealtimeServer(session_s=600.0, times_real_time=1000, clock=clock) as server,
        calling(server, clock, dialect="openai") as call,
    ):
        await call.say(1000, ANNA)
        await call.say(3000)
        server.fail(fault)
        await clock.advance(537)
        await call.say(8000)
        assert not call.told(Closed)
        assert len(server.log.of(SessionConnected)) + len(server.log.of(UpgradeRefused)) == 2
        await call.say(1000, ANNA)
        await call.say(700)
        await call.until(lambda call: answered(call, 2))


@pytest.mark.parametrize("session_s", [-3600.0, 1.0, 250.0])
async def test_a_service_with_another_clock_is_not_asked_for_session_after_session(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, session_s: float
) -> None:
    """It says that the session is over, or is soon: it is believed when it ends it."""
    async with RealtimeServer(session_s=600.0, times_real_time=1000, clock=clock) as server:
        monkeypatch.setattr(session, "time", SimpleNamespace(time=lambda: time.time() + 600.0 - session_s))
        async with calling(server, clock) as call:
            await call.say(5000)
            await clock.advance(300)
            await call.say(5000)
            assert len(server.sessions) == 1


async def test_reset_reaches_a_model_whose_dialect_was_found_in_the_call(clock: FakeClock) -> None:
    """The server says nothing by itself, so it speaks vLLM-Omni's dialect; its model begins anew when it is told to cancel."""
    async with RealtimeServer("vllm-omni", voices=("marin",)) as server:
        call = Call(provider_of(server, clock, model="some-name"), clock)
        opening = asyncio.create_task(call.engine.__aenter__())
        while len(server.log.of(SessionConnected)) < 2:
            await clock.advance(0.1)
        await opening
        assert isinstance(call.lease, TurnTakingLease)
        call.lease.reset()
        await eventually(lambda: server.received("response.cancel"))
        await call.engine.__aexit__(None, None, None)


async def test_a_model_whose_context_is_full_gets_a_new_session(clock: FakeClock) -> None:
    """As vLLM-Omni's PersonaPlex does after 240 s: the call goes on within 2 s, and nobody is told of a stall."""
    async with (
        RealtimeServer("vllm-omni", voices=("marin",), step_ms=0.0, frame_limit=150) as server,
        calling(server, clock, dialect="vllm-omni") as call,
    ):
        while len(server.sessions) < 2:
            await call.say(100)
        heard_ms, since = call.sound_ms, clock.now()
        while call.sound_ms == heard_ms:
            await call.say(100)
        assert clock.now() - since < 2
        assert not call.told(Problem)
        assert not call.told(Closed)
