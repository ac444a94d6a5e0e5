"""Each fault of the stand-in, as a client without any library's help sees it; and that the next session is well again."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from discordplex.audio.format import MODEL
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.openai.realtime import faults
from discordplex.loopback.openai.realtime.faults import RealtimeFault
from discordplex.loopback.openai.realtime.log import EventSent, SessionClosed, UpgradeRefused
from discordplex.loopback.openai.realtime.replies import talk
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.loopback.timeouts import wait_for
from discordplex.personaplex.endpoint import VOICES
from tests.loopback.openai.realtime.conftest import MODEL_NAME, silence, tone

KEY = {"Authorization": "Bearer sk-test"}


@pytest.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    async with RealtimeServer(replies=talk(3), times_real_time=1000) as server:
        yield server


@asynccontextmanager
async def raw(server: RealtimeServer) -> AsyncIterator[ClientConnection]:
    async with connect(f"{server.url}/realtime?model={MODEL_NAME}", additional_headers=KEY, max_size=None, max_queue=None) as websocket:
        yield websocket


async def receive(websocket: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(await wait_for(websocket.recv(), 10))
    return event


async def until(websocket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """All events up to the first of this type."""
    events = [await receive(websocket)]
    while events[-1]["type"] != kind:
        events.append(await receive(websocket))
    return events


async def speak(websocket: ClientConnection) -> None:
    audio = base64.b64encode(tone(400) + silence(500)).decode()
    await websocket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))


async def ended(websocket: ClientConnection) -> tuple[int, str]:
    """The code and the reason of the server's close frame; 1006 without one."""
    while True:
        try:
            await wait_for(websocket.recv(), 10)
        except ConnectionClosed as closed:
            return (1006, "") if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (RealtimeFault(status=401), 401, "invalid_api_key"),
        (RealtimeFault(status=403), 403, "model_not_found"),
        (RealtimeFault(status=404), 404, "model_not_found"),
        (RealtimeFault(status=429, code="insufficient_quota"), 429, "insufficient_quota"),
        (faults.BUSY, 429, "rate_limit_exceeded"),
        (RealtimeFault(status=502, html=True), 502, None),
        (RealtimeFault(status=403, headers={"X-Request-Id": "req_1"}), 403, None),
    ],
)
async def test_refused_at_the_upgrade(server: RealtimeServer, fault: RealtimeFault, status: int, code: str | None) -> None:
    """An HTTP answer with the API's error, headers included; the next request is served."""
    server.fail(fault)
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{server.url}/realtime?model={MODEL_NAME}", additional_headers=KEY)
    response = refused.value.response
    assert response.status_code == status
    if code:
        assert json.loads(response.body or b"")["error"]["code"] == code
    assert response.headers.get("Retry-After") == (None if fault.retry_after_s is None else "7")
    assert all(response.headers[name] == value for name, value in fault.headers.items())
    assert [record.status for record in server.log.of(UpgradeRefused)] == [status]
    async with raw(server) as websocket:
        assert (await receive(websocket))["type"] == "session.created"


@pytest.mark.parametrize(
    ("fault", "close", "reason"),
    [
        (faults.WRONG_KEY, 3000, "invalid_request_error.invalid_api_key"),
        (faults.WRONG_MODEL, 4000, "invalid_request_error.invalid_model"),
        (faults.BETA_DISABLED, 4000, "invalid_request_error.beta_api_shape_disabled"),
        (faults.NO_QUOTA, 4000, "insufficient_quota.insufficient_quota"),
    ],
)
async def test_refused_after_the_upgrade(server: RealtimeServer, fault: RealtimeFault, close: int, reason: str) -> None:
    """An error event in place of a session, then the close code."""
    server.fail(fault)
    async with raw(server) as websocket:
        assert (await receive(websocket))["error"]["code"] == fault.code
        assert await ended(websocket) == (close, reason)
    await server.log.wait_for(lambda log: log.of(SessionClosed))
    assert (server.log.of(SessionClosed)[0].code, server.log.of(SessionClosed)[0].by) == (close, "server")
    assert not server.sessions


async def test_nothing_ever_comes(server: RealtimeServer) -> None:
    """Once before the upgrade, once after it; a session of the beta is no silence but of little use."""
    server.fail(RealtimeFault(hang=True), RealtimeFault(silent=True), RealtimeFault(beta=True))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(connect(f"{server.url}/realtime?model={MODEL_NAME}", additional_headers=KEY), 0.05)
    async with raw(server) as websocket:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(websocket.recv(), 0.05)
    async with raw(server) as websocket:
        assert "modalities" in (await receive(websocket))["session"]
        await websocket.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
        assert (await receive(websocket))["error"]["param"] == "session.type"


async def test_replies_that_fail(server: RealtimeServer) -> None:
    """`response.done` may say that there is no money or no such model; what people say may stay untranscribed."""
    server.fail(RealtimeFault(reply_code="insufficient_quota", transcription_fails=True))
    async with raw(server) as websocket:
        transcription = {"audio": {"input": {"transcription": {"model": "gpt-transcribe"}}}}
        await websocket.send(json.dumps({"type": "session.update", "session": {"type": "realtime", **transcription}}))
        await speak(websocket)
        events = await until(websocket, "response.done")
        response = events[-1]["response"]
        assert (response["status"], response["status_details"]["error"]["code"]) == ("failed", "insufficient_quota")
        assert "conversation.item.input_audio_transcription.failed" in [event["type"] for event in events]
        assert not server.violations


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (RealtimeFault(reset_after_ms=1000), 1006),
        (RealtimeFault(close_after_ms=1000), 1011),
        (RealtimeFault(close_after_ms=1000, close=1013), 1013),
    ],
)
async def test_the_end_in_the_middle_of_a_reply(server: RealtimeServer, fault: RealtimeFault, code: int) -> None:
    """The connection ends after so much sound, which has arrived."""
    server.fail(fault)
    async with raw(server) as websocket:
        await speak(websocket)
        assert (await ended(websocket))[0] == code
    await server.log.wait_for(lambda log: log.of(SessionClosed))
    assert (server.log.of(SessionClosed)[0].code, server.log.of(SessionClosed)[0].by) == (code, "server")
    assert MODEL.duration_ms(sum(record.audio_bytes for record in server.log.of(EventSent))) == 1000


async def test_a_stall_and_an_error_in_the_middle_of_a_reply(server: RealtimeServer) -> None:
    """After a stall nothing comes, however much is said; after an error everything goes on."""
    server.fail(RealtimeFault(stall_after_ms=500), RealtimeFault(error_after_ms=500))
    async with raw(server) as websocket:
        await speak(websocket)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(until(websocket, "response.done"), 0.3)
    async with raw(server) as websocket:
        await speak(websocket)
        kinds = [event["type"] for event in await until(websocket, "response.done")]
        assert 0 < kinds.index("error") < kinds.index("response.output_audio.done")
    assert not server.violations


async def test_sessions_expire_by_the_servers_clock() -> None:
    """Announced by who announces it, then the error, then 1001 with the reason."""
    clock = FakeClock()
    async with RealtimeServer(clock=clock, session_s=3600) as server:
        server.fail(RealtimeFault(session_s=20, go_away_s=15))
        async with raw(server) as brief, raw(server) as usual:
            await receive(brief)
            await receive(usual)
            await clock.advance(15)
            assert await receive(brief) == {"goAway": {"timeLeft": "5s"}}
            await clock.advance(5)
            assert (await receive(brief))["error"]["code"] == "session_expired"
            assert (await ended(brief))[0] == 1001
            await clock.advance(3580)
            expected = "Your session hit the maximum duration of 60 minutes."
            assert (await receive(usual))["error"]["message"] == expected
            assert await ended(usual) == (1001, expected)


async def test_garbage_comes_as_it_is(server: RealtimeServer) -> None:
    """Any message can be sent at any time; the session behind it goes on."""
    garbage = faults.garbage()
    server.fail(RealtimeFault(messages=garbage), RealtimeFault(messages=faults.junk_sound(), messages_after_ms=500))
    async with raw(server) as websocket:
        await receive(websocket)
        for message in garbage:
            assert await websocket.recv() == message
        await speak(websocket)
        await until(websocket, "response.done")
    async with raw(server) as websocket:
        await receive(websocket)
        await speak(websocket)
        deltas = [event["delta"] for event in await until(websocket, "response.done") if event["type"] == "response.output_audio.delta"]
        assert "%%%%" in deltas
        assert len(deltas[0]) > 4
    assert not server.violations


async def test_floods_are_as_large_as_asked(server: RealtimeServer) -> None:
    """Sound for hours in one reply, and thousands of unknown events."""
    server.fail(RealtimeFault(messages=faults.hours_of_sound(0.05, piece_s=60)), RealtimeFault(messages=faults.flood(2000)))
    async with raw(server) as websocket:
        events = await until(websocket, "response.done")
        sound = sum(len(event["delta"]) * 3 // 4 for event in events if event["type"] == "response.output_audio.delta")
        assert MODEL.duration_ms(sound) == 180_000
    async with raw(server) as websocket:
        await receive(websocket)
        for number in range(2000):
            assert (await receive(websocket))["event_id"] == f"event_flood_{number}"


async def test_unknown_events_fields_and_half_samples(server: RealtimeServer) -> None:
    """What a client must let pass, and sound that is cut in the middle of a sample; put together it is whole."""
    server.fail(RealtimeFault(odd=True, split_samples=True))
    async with raw(server) as websocket:
        await speak(websocket)
        events = await until(websocket, "response.done")
        assert [event["type"] for event in events[::2]] == ["weather.changed"] * (len(events) // 2)
        assert all(event["season"] for event in events[1::2])
        pieces = [base64.b64decode(event["delta"]) for event in events if event["type"] == "response.output_audio.delta"]
        assert len(pieces[0]) % 2 == 1
        whole = talk(3)(None).pcm  # type: ignore[arg-type]
        assert b"".join(pieces) == whole[:-1]
        assert not server.violations


@pytest.mark.parametrize("dialect", ["vllm-omni", "gpt-live"])
async def test_faults_hold_in_every_dialect(dialect: Any) -> None:
    """Expiry, an error and a reset in mid-sentence, and a fault at the upgrade, where the model never stops talking."""
    clock = FakeClock()
    path = "/realtime" if dialect == "vllm-omni" else "/live/sessions"
    async with RealtimeServer(dialect, clock=clock, chunk_frames=1, step_ms=0.0) as server:
        server.fail(RealtimeFault(error_after_ms=80, reset_after_ms=160), RealtimeFault(session_s=20), RealtimeFault(status=403))
        async with connect(f"{server.url}{path}", additional_headers=KEY) as websocket:
            await open_session(websocket, dialect)
            for _ in range(8):
                await hear_step(websocket, dialect)
            events = await until(websocket, "error")
            assert any(event["type"].endswith("output_audio.delta") for event in events)
            assert (await ended(websocket))[0] == 1006
        async with connect(f"{server.url}{path}", additional_headers=KEY) as websocket:
            await open_session(websocket, dialect)
            await clock.advance(20)
            last = "session.expired" if dialect == "vllm-omni" else "session.closed"
            assert (await until(websocket, last))[-1]["type"] == last
            assert (await ended(websocket))[0] == 1000
        with pytest.raises(InvalidStatus):
            await connect(f"{server.url}{path}", additional_headers=KEY)
        assert not server.violations


async def open_session(websocket: ClientConnection, dialect: str) -> None:
    if dialect == "vllm-omni":
        await websocket.send(json.dumps({"type": "session.update", "session": {"voice": VOICES[0]}}))
        await until(websocket, "session.updated")
    else:
        await websocket.send(json.dumps({"type": "session.start", "session": {"model": "gpt-live-1"}}))
        await until(websocket, "session.started")


async def hear_step(websocket: ClientConnection, dialect: str) -> None:
    """80 ms of silence."""
    audio = {"audio": base64.b64encode(bytes(7680)).decode(), "format": "pcm_f32le", "sample_rate_hz": 24_000}
    if dialect == "gpt-live":
        await websocket.send(json.dumps({"type": "session.input_audio.append", "audio": base64.b64encode(bytes(3840)).decode()}))
    else:
        await websocket.send(json.dumps({"type": "input_audio_buffer.append", **audio}))
