"""Each fault of a server: what the call is told, whether it lives, and that the next call works."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast

import pytest
from structlog.testing import capture_logs

from discordplex.engine import BUSY, Closed, Problem
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock, settle
from discordplex.loopback.openai.realtime import faults
from discordplex.loopback.openai.realtime.faults import RealtimeFault
from discordplex.loopback.openai.realtime.log import SessionClosed
from discordplex.loopback.openai.realtime.replies import talk
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.realtime import endings
from discordplex.realtime.engine import SHORTEST_SESSION_S
from discordplex.realtime.provider import RealtimeProvider
from discordplex.realtime.session import STALL_S
from tests.realtime.harness import ANNA, KEY, PERSONA, Call, calling, eventually, provider_of
from tests.realtime.test_session import answered

OTHER_ADDRESS: Final = {"Location": f"http://127.0.0.1:9/{KEY}"}


@pytest.fixture(autouse=True)
async def nothing_is_left_and_no_key_told() -> AsyncIterator[None]:
    """No task of ours outlives the test, and no line of the log holds the key or what the server said."""
    before = asyncio.all_tasks()
    with capture_logs() as lines:
        yield
    await settle()
    left = [task.get_name() for task in asyncio.all_tasks() - before if "realtime" in task.get_name()]
    assert not left
    assert KEY not in str(lines)
    assert not [line for line in lines if line["log_level"] in ("error", "critical")]


async def refused(provider: RealtimeProvider, clock: FakeClock) -> EngineError:
    """Why a call did not begin; time passes while it tries."""

    async def begin() -> None:
        async with calling(cast("Any", None), clock, provider):
            pass

    opening = asyncio.create_task(begin())
    for _ in range(600):
        if opening.done():
            break
        await clock.advance(0.05)
        await asyncio.sleep(0.001)
    with pytest.raises(EngineError) as caught:
        await opening
    return caught.value


async def works(server: RealtimeServer, provider: RealtimeProvider, clock: FakeClock) -> None:
    """The call after it gets an answer."""
    await clock.advance(200)
    async with calling(server, clock, provider) as call:
        await call.say(1000, ANNA)
        await call.say(700)
        await call.until(answered)


@pytest.mark.parametrize(
    ("fault", "cause", "retry"),
    [
        (RealtimeFault(status=401), "bad key", False),
        (RealtimeFault(status=403), "HTTP 403", False),
        (RealtimeFault(status=404), "HTTP 404", False),
        (RealtimeFault(status=400), "HTTP 400", False),
        (faults.BUSY, "rate limit", True),
        (RealtimeFault(status=500), "HTTP 500", True),
        (RealtimeFault(status=503, html=True), "HTTP 503", True),
        (RealtimeFault(status=302, headers=OTHER_ADDRESS), "redirect 302", False),
        (faults.WRONG_KEY, "bad key", False),
        (faults.WRONG_MODEL, "no such model", False),
        (faults.BETA_DISABLED, "beta refused", False),
        (faults.NO_QUOTA, "no quota", False),
        (RealtimeFault(code="resource_exhausted"), BUSY, True),
        (RealtimeFault(silent=True), "no session", True),
        (RealtimeFault(beta=True), "beta server", False),
        (RealtimeFault(code=f"Bearer {KEY}", close=1008), "close 1008", False),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_session_that_does_not_begin(clock: FakeClock, fault: RealtimeFault, cause: str, *, retry: bool) -> None:
    """One sentence that says why, without the key; whether another try can help; and the next call works."""
    async with RealtimeServer(clock=clock, times_real_time=1000) as server:
        provider = provider_of(server, clock, dialect="openai")
        server.fail(fault)
        error = await refused(provider, clock)
        assert (error.cause, error.retry) == (cause, retry)
        assert str(error).endswith(".")
        assert KEY not in "".join(traceback.format_exception(error))
        await works(server, provider, clock)
        assert not server.violations


async def test_a_server_that_wants_to_be_left_alone_is(clock: FakeClock) -> None:
    """As long as its Retry-After says, by every call."""
    async with RealtimeServer() as server:
        provider = provider_of(server, clock)
        server.fail(faults.BUSY)
        await refused(provider, clock)
        now = clock.now()
        lease = provider.acquire()
        assert lease is not None
        engine = lease.open(PERSONA, Call(provider, clock).metrics)
        opening = asyncio.create_task(engine.__aenter__())
        while not opening.done():
            await clock.advance(0.5)
            await asyncio.sleep(0.001)
        await engine.__aexit__(None, None, None)
        assert clock.now() - now >= 6


async def test_a_server_that_is_slow_to_open_a_session_is_not_taken_for_another_kind(clock: FakeClock) -> None:
    """Nothing was set, and it says nothing for a while: the next call still speaks its dialect."""
    async with RealtimeServer(clock=clock, times_real_time=1000) as server:
        provider = provider_of(server, clock)
        server.fail(RealtimeFault(silent=True))
        error = await refused(provider, clock)
        assert (error.cause, error.retry) == ("no session", True)
        await works(server, provider, clock)


async def test_a_voice_that_the_server_does_not_have_is_named(clock: FakeClock) -> None:
    """At once, and not as a silence."""
    async with RealtimeServer(voices=("nova",)) as server:
        error = await refused(provider_of(server, clock), clock)
        assert (error.cause, error.retry) == ("bad voice", False)


async def talked_to(call: Call) -> None:
    """Somebody asks, and hears what comes for three seconds; the server's own tasks get their time."""
    await call.say(1000, ANNA)
    for _ in range(40):
        await call.say(100)
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("fault", "cause", "retry"),
    [
        (faults.NO_QUOTA_IN_REPLY, "no quota", False),
        (RealtimeFault(reply_code="model_not_found"), "no such model", False),
        (RealtimeFault(reset_after_ms=500), "broken off", True),
        (RealtimeFault(close_after_ms=500), "close 1011", True),
        (RealtimeFault(close_after_ms=500, close=1008), "close 1008", False),
        (RealtimeFault(stall_after_ms=500), "stalled", True),
        (RealtimeFault(session_s=SHORTEST_SESSION_S / 2), endings.EXPIRED, True),
        (RealtimeFault(messages=faults.flood(9000), messages_after_ms=500), "over budget: messages", True),
        (RealtimeFault(messages=faults.hours_of_sound(1, 10), messages_after_ms=500), "over budget: data", True),
        (RealtimeFault(messages=("x" * (17 << 20),), messages_after_ms=500), "over budget: data in one message", True),
        (RealtimeFault(messages=("x",) * 50, messages_after_ms=500), "over budget: damaged messages", True),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_fault_that_ends_a_call(clock: FakeClock, fault: RealtimeFault, cause: str, *, retry: bool) -> None:
    """One event says that it is over and why; the next call works."""
    async with RealtimeServer(replies=talk(5), times_real_time=1000, clock=clock) as server:
        provider = provider_of(server, clock)
        server.fail(fault)
        async with calling(server, clock, provider) as call:
            await talked_to(call)
            await call.say(int(STALL_S * 1000))
            closed = await call.closed()
        assert (closed.cause, closed.retry) == (cause, retry)
        assert closed.reason.endswith(".")
        assert len(call.told(Closed)) == 1
        await works(server, provider, clock)


SOME_GARBAGE: Final[Sequence[str | bytes]] = [message for message in faults.garbage() if len(message) < 1 << 20]


@pytest.mark.parametrize(
    ("fault", "problems"),
    [
        (RealtimeFault(reply_code="server_error"), ["server_error"]),
        (RealtimeFault(reply_code="rate_limit_exceeded"), ["rate limit"]),
        (RealtimeFault(error_after_ms=500), []),
        (RealtimeFault(odd=True), []),
        (RealtimeFault(split_samples=True), []),
        (RealtimeFault(messages=tuple(message for message in faults.junk_sound() if len(message) < 1 << 20)), []),
        (RealtimeFault(transcription_fails=True), []),
        *[(RealtimeFault(messages=tuple(SOME_GARBAGE[start : start + 15])), []) for start in range(0, len(SOME_GARBAGE), 15)],
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_fault_that_a_call_survives(clock: FakeClock, fault: RealtimeFault, problems: list[str]) -> None:
    """A failed answer is told; whatever makes no sense is dropped; the reply comes, or the next one does."""
    async with RealtimeServer(replies=talk(5), times_real_time=1000, clock=clock) as server:
        provider = provider_of(server, clock)
        server.fail(fault)
        async with calling(server, clock, provider) as call:
            await talked_to(call)
            assert not call.told(Closed)
            assert [event.cause for event in call.told(Problem)] == problems
            if not problems:
                assert call.sound_ms >= 4999
        await eventually(lambda: server.log.of(SessionClosed))
        await works(server, provider, clock)


async def test_a_goodbye_of_another_shape_begins_the_next_session(clock: FakeClock) -> None:
    """The server says that it will close soon: the call goes on in a new session, which can be told to forget what it was told."""
    async with RealtimeServer(clock=clock, times_real_time=1000, hears=lambda _: "My name is Anna.") as server:
        server.fail(RealtimeFault(go_away_s=15))
        async with calling(server, clock) as call:
            await call.say(1000, ANNA)
            await call.say(3000)
            while len(server.sessions) < 2:
                await call.say(100)
            await call.say(500)
            await eventually(lambda: [item for item in server.sessions[1].items if "Anna" in item.text])
            await call.engine.forget(ANNA)
            await eventually(lambda: not server.sessions[1].items)
            assert not call.told(Closed)
