"""The dialects of the stand-in: Azure, xAI, vLLM-Omni's PersonaPlex and GPT-Live."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import openai
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from discordplex.audio.format import MODEL
from discordplex.audio.samples import float_of
from discordplex.loopback.openai.realtime.log import AudioAppended, EventRefused
from discordplex.loopback.openai.realtime.replies import talk
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.loopback.openai.realtime.vllm_omni import DEFAULT_VOICE
from discordplex.loopback.personaplex.talker import Talker, clip
from discordplex.loopback.timeouts import wait_for
from tests.loopback.openai.realtime.conftest import SdkClient, sdk, settings, silence, tone

OPENING = {
    "model": "nvidia/personaplex-7b-v1",
    "modalities": ["audio", "text"],
    "input_audio_format": "pcm_f32le",
    "sample_rate_hz": 24_000,
    "output_audio_format": "pcm16",
    "voice": "NATM1.pt",
    "instructions": "You are Ann.",
    "turn_detection": None,
}
"""As vLLM-Omni's own client opens a session."""


class RawClient:
    """A client that speaks whatever it likes."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.events: list[dict[str, Any]] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self.websocket.send(json.dumps({"type": kind, **fields}))

    async def until(self, kind: str) -> dict[str, Any]:
        while True:
            event: dict[str, Any] = json.loads(await wait_for(self.websocket.recv(), 10))
            self.events.append(event)
            if event["type"] == kind:
                return event

    async def say(self, pcm: bytes) -> None:
        """Sound as vLLM-Omni wants it, 20 ms each."""
        for start in range(0, len(pcm), MODEL.frame_bytes):
            audio = base64.b64encode(float_of(pcm[start : start + MODEL.frame_bytes]).tobytes()).decode()
            await self.send("input_audio_buffer.append", audio=audio, format="pcm_f32le", sample_rate_hz=24_000)

    def sizes(self) -> list[int]:
        """Frames of 80 ms in each piece of sound."""
        deltas = [event["delta"] for event in self.events if event["type"] == "response.output_audio.delta"]
        return [len(base64.b64decode(delta)) // MODEL.bytes_of_ms(80) for delta in deltas]

    def sound(self) -> bytes:
        return b"".join(base64.b64decode(event["delta"]) for event in self.events if event["type"] == "response.output_audio.delta")


@asynccontextmanager
async def omni(server: RealtimeServer, query: str = "?duplex=1") -> AsyncIterator[RawClient]:
    async with connect(f"{server.url}/realtime{query}") as websocket:
        yield RawClient(websocket)


async def test_vllm_omni_opens_with_what_the_client_says_first() -> None:
    """The client speaks first, in the beta's names; the answer says what this model can do."""
    async with RealtimeServer("vllm-omni") as server, omni(server) as client:
        await client.send("session.update", session=OPENING)
        created = await client.until("session.created")
        await client.until("session.updated")
        able = created["session"]["capabilities"]
        assert (able["chunk_period_ms"], able["supports_audio_truncate"], able["supports_barge_in"]) == (80, False, False)
        (session,) = server.sessions
        assert (session.voice, session.instructions) == ("NATM1.pt", "You are Ann.")
        await client.send("session.update", session={"voice": "NATF0.pt"})
        assert (await client.until("error"))["error"]["code"] == "voice_update_unsupported"
        await client.send("session.update", session={"instructions": "You are Bob."})
        assert (await client.until("error"))["error"]["code"] == "persona_update_unsupported"
        await client.send("response.create")
        assert (await client.until("error"))["error"]["code"] == "response_create_without_input"
        assert [record.code for record in server.log.of(EventRefused)] == [
            one.code for one in server.violations if isinstance(one, EventRefused)
        ]


async def test_vllm_omni_with_a_model_in_the_url_opens_a_session_of_its_own() -> None:
    """The trap: with `?model=` the voice and the persona of the client come too late; `autostart=0` avoids it."""
    async with RealtimeServer("vllm-omni") as server:
        async with omni(server, "?duplex=1&model=nvidia/personaplex-7b-v1") as client:
            assert (await client.until("session.created"))["session"]["voice"] == DEFAULT_VOICE
            await client.send("session.update", session=OPENING)
            assert (await client.until("error"))["error"]["code"] == "voice_update_unsupported"
        async with omni(server, "?duplex=1&model=nvidia/personaplex-7b-v1&autostart=0") as client:
            await client.send("session.update", session=OPENING)
            assert (await client.until("session.created"))["session"]["voice"] == "NATM1.pt"


@pytest.mark.parametrize(("chunk_frames", "sizes"), [(5, [1, 5, 5]), (1, [1] * 11)])
async def test_vllm_omni_speaks_while_it_listens(chunk_frames: int, sizes: list[int]) -> None:
    """Frame for frame what came in, one frame late, in one response that stays open; pieces as deployed."""
    async with RealtimeServer("vllm-omni", chunk_frames=chunk_frames, step_ms=0.0) as server, omni(server) as client:
        await client.send("session.update", session=OPENING)
        said = tone(12 * 80)
        await client.say(said)
        while sum(client.sizes()) < 11:
            await client.until("response.output_audio_transcript.delta")
        assert client.sizes() == sizes
        assert np.abs(np.frombuffer(client.sound(), "<i2").astype(int) - np.frombuffer(said[: -MODEL.bytes_of_ms(80)], "<i2")).max() <= 1
        assert len({event["response_id"] for event in client.events if "response_id" in event}) == 1
        assert not server.violations
        assert sum(record.size for record in server.log.of(AudioAppended)) == len(said)


async def test_vllm_omni_takes_one_format_only() -> None:
    """PCM16, or no format at all, is refused: the default is 16 kHz; so is sound that is no number."""
    async with RealtimeServer("vllm-omni") as server, omni(server) as client:
        await client.send("session.update", session=OPENING)
        audio = base64.b64encode(bytes(3840)).decode()
        for fields in ({}, {"format": "pcm16", "sample_rate_hz": 24_000}):
            await client.send("input_audio_buffer.append", audio=audio, **fields)
            assert (await client.until("error"))["error"]["code"] == "invalid_audio_format"
        endless = base64.b64encode(np.array([np.inf], "<f4").tobytes()).decode()
        await client.send("input_audio_buffer.append", audio=endless, format="pcm_f32le", sample_rate_hz=24_000)
        assert (await client.until("error"))["error"]["code"] == "invalid_audio"
        assert len(server.violations) == 3


async def test_vllm_omni_with_every_slot_taken() -> None:
    """The third session is refused; closing one frees its slot, with the last word from the server."""
    async with RealtimeServer("vllm-omni", max_sessions=2) as server, omni(server) as one, omni(server) as two, omni(server) as three:
        for client in (one, two):
            await client.send("session.update", session=OPENING)
            await client.until("session.created")
        await three.send("session.update", session=OPENING)
        error = (await three.until("error"))["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "resource_exhausted")
        await one.send("session.close")
        assert (await one.until("session.closed"))["reason"] == "client_close"
        with pytest.raises(ConnectionClosed):
            await one.until("never")
        await three.send("session.update", session=OPENING)
        await three.until("session.created")


async def test_vllm_omni_outgrows_its_context_and_restarts_on_cancel() -> None:
    """A cancel begins a new response; beyond the context comes an error, a failed response, and the end."""
    async with RealtimeServer("vllm-omni", model=Talker, chunk_frames=1, step_ms=0.0, frame_limit=8) as server, omni(server) as client:
        await client.send("session.update", session=OPENING)
        await client.say(silence(3 * 80))
        first = await client.until("response.created")
        await client.send("response.cancel")
        assert (await client.until("response.done"))["response"]["status"] == "cancelled"
        await client.say(silence(10 * 80))
        assert (await client.until("response.created"))["response_id"] != first["response_id"]
        assert (await client.until("error"))["error"]["message"].startswith("context_length_exceeded")
        assert (await client.until("response.done"))["response"]["status"] == "failed"
        assert (await client.until("session.closed"))["reason"] == "runtime_data_plane_stream_failed"
        del server


async def test_xai_has_its_oddities() -> None:
    """Another first event, pings, a string where an object belongs, no semantic VAD."""
    async with RealtimeServer("xai") as server, sdk(server, model="grok-voice-latest") as client:
        await client.until("conversation.created")
        await client.until("ping")
        await client.send("session.update", session=settings(turn_detection={"type": "semantic_vad"}))
        assert (await client.until("error")).error.code == "invalid_value"
        await client.send("session.update", session=settings(output={"voice": "xai_eve"}))
        await client.until("session.updated")
        await client.say(tone(400), silence(500))
        assert (await client.until("response.done")).response.status_details == "unimplemented"
        assert "session.created" not in client.order
        assert len(server.violations) == 1


async def test_azure_has_its_own_path_and_header() -> None:
    """The key may come in either header, at Azure's path."""
    async with RealtimeServer("azure", key="azure-key", models=("my-deployment",)) as server:
        assert server.url.endswith("/openai/v1")
        url = f"{server.url}/realtime?model=my-deployment"
        for headers in ({"api-key": "azure-key"}, {"Authorization": "Bearer azure-key"}):
            async with connect(url, additional_headers=headers) as websocket:
                assert json.loads(await websocket.recv())["type"] == "session.created"
        with pytest.raises(InvalidStatus):
            await connect(url, additional_headers={"api-key": "wrong"})
        with pytest.raises(InvalidStatus):
            await connect(url.replace("/openai", ""), additional_headers={"api-key": "azure-key"})


@asynccontextmanager
async def live(server: RealtimeServer) -> AsyncIterator[SdkClient]:
    async with (
        openai.AsyncOpenAI(api_key="sk-test", websocket_base_url=server.url, max_retries=0) as client,
        client.live.connect() as connection,
    ):
        yield SdkClient(connection)  # type: ignore[arg-type]


async def hear_live(client: SdkClient, pcm: bytes, rate_hz: int = MODEL.rate_hz) -> None:
    for start in range(0, len(pcm), rate_hz // 25):
        await client.send("session.input_audio.append", audio=base64.b64encode(pcm[start : start + rate_hz // 25]).decode())


async def test_gpt_live_talks_as_it_likes() -> None:
    """`session.start` first; then sound both ways with words to it, by time; nothing is acknowledged."""
    started = {
        "model": "gpt-live-1",
        "instructions": "Be Ann.",
        "input": [{"role": "user", "content": [{"text": "I am Bo.", "type": "input_text"}]}],
    }
    async with RealtimeServer("gpt-live", model=Talker, step_ms=0.0, hears=lambda _: "Hello you") as server, live(server) as client:
        await client.send("session.input_audio.append", audio="")
        assert (await client.until("error")).error.code == "session_not_started"
        await client.send("session.start", session=started, event_id="first")
        answer = await client.until("session.started")
        assert (answer.client_event_id, answer.session.audio.format.rate, answer.session.audio.output.voice) == ("first", 24_000, "marin")
        assert (server.sessions[0].instructions, [item.text for item in server.sessions[0].items]) == ("Be Ann.", ["I am Bo."])
        await hear_live(client, tone(800) + silence(600))
        word = await client.until("session.input_transcript.delta")
        assert (word.delta, word.start_ms, word.end_ms) == ("Hello", 0, 1300)
        await hear_live(client, silence(2000))
        spoken = await client.until("session.output_transcript.delta")
        assert spoken.delta in clip().text
        await client.send("session.close")
        assert (await client.until("session.closed")).reason == "close_requested"
        assert len(server.violations) == 1


async def test_gpt_live_at_16_khz_and_what_is_added_later() -> None:
    """The other rate; instructions are kept, commentary is said."""
    audio = {"format": {"type": "audio/pcm", "rate": 16_000}, "output": {"voice": "vesper"}}
    async with RealtimeServer("gpt-live", step_ms=0.0) as server, live(server) as client:
        await client.send("session.start", session={"model": "gpt-live-1.1", "audio": audio})
        await client.send("session.instructions.append", content="Whisper.")
        await client.send("session.commentary.append", content="Welcome back")
        await client.until("session.commentary.appended")
        await hear_live(client, tone(1000)[: 2 * 16_000], 16_000)
        said = await client.until("session.output_transcript.delta")
        assert said.delta == "Welcome back"
        deltas = [event for event in client.events if event.type == "session.output_audio.delta"]
        assert len(base64.b64decode(deltas[0].delta)) <= 2 * 16_000 * 80 // 1000
        assert server.sessions[0].voice == "vesper"
        assert not server.violations


async def test_one_server_is_one_dialect() -> None:
    """OpenAI's own server has no path of GPT-Live, and the other way round."""
    async with RealtimeServer(replies=talk(1)) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{server.url}/live/sessions", additional_headers={"Authorization": "Bearer x"})
        assert refused.value.response.status_code == 404
