"""What hermes-talk talks with: a server of OpenAI's Realtime protocol with a probe in it. It answers each 80 ms of sound at once.

It never says that somebody has begun to speak: then the client would cut off what is being said. A real service in the middle of a reply
sends what this one sends.
"""

import asyncio
import base64
import json
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import WSMsgType, web
from typing_extensions import Self

from benchmarks.stage import Talk
from discordplex.audio.format import MODEL
from discordplex.loopback.personaplex.codec import STEP_BYTES
from discordplex.loopback.personaplex.log import AudioReceived, AudioSent
from discordplex.loopback.personaplex.voice_model import VoiceModel, VoiceModelFactory
from discordplex.loopback.sockets import set_up

RESPONSE = {"response_id": "resp_probe", "item_id": "item_probe", "output_index": 0, "content_index": 0}


@dataclass
class RealtimeSession:
    """One client's session: what it sent, and when it was answered."""

    model: VoiceModel
    heard: list[AudioReceived] = field(default_factory=list)
    said: list[AudioSent] = field(default_factory=list)
    _input: bytearray = field(default_factory=bytearray)

    def take(self, pcm: bytes) -> list[bytes]:
        """What the model says to this sound."""
        self.heard.append(AudioReceived(time.perf_counter(), 1, len(pcm), len(pcm) // MODEL.sample_bytes))
        self._input += pcm
        answers = []
        while len(self._input) >= STEP_BYTES:
            answers.append(self.model.step(bytes(self._input[:STEP_BYTES])).pcm)
            del self._input[:STEP_BYTES]
        return answers


@dataclass
class RealtimeTalk(Talk):
    """A call whose engine is such a session."""

    session: RealtimeSession

    @property
    def heard(self) -> list[AudioReceived]:
        """Each message with sound that reached the server."""
        return self.session.heard

    @property
    def said(self) -> list[AudioSent]:
        """Each block that the server sent."""
        return self.session.said


class RealtimeServer:
    """`async with RealtimeServer(Probe) as server:` listens at `server.port`; `opened` gets each session with its first sound."""

    def __init__(self, model: VoiceModelFactory) -> None:
        self.opened: asyncio.Queue[RealtimeSession] = asyncio.Queue()
        self.port = 0
        self._model = model
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/v1/realtime/client_secrets", self._secret)
        application.router.add_get("/v1/realtime", self._session)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        _, self.port = await set_up(self._runner, "127.0.0.1", 0, None)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _secret(self, _: web.Request) -> web.Response:
        return web.json_response({"value": "ek_probe", "expires_at": int(time.time()) + 3600})

    async def _session(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session = RealtimeSession(self._model())
        await socket.send_json({"type": "session.created", "session": {"id": "sess_probe"}})
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._take(socket, session, json.loads(message.data))
        return socket

    async def _take(self, socket: web.WebSocketResponse, session: RealtimeSession, event: dict[str, Any]) -> None:
        if event["type"] == "session.update":
            await socket.send_json({"type": "session.updated", "session": {"id": "sess_probe"}})
            await socket.send_json({"type": "response.created", "response": {"id": RESPONSE["response_id"], "status": "in_progress"}})
        elif event["type"] == "input_audio_buffer.append":
            if not session.heard:
                self.opened.put_nowait(session)
            for pcm in session.take(base64.b64decode(event["audio"])):
                session.said.append(AudioSent(time.perf_counter(), 1, len(pcm)))
                delta = base64.b64encode(pcm).decode("ascii")
                await socket.send_json({"type": "response.output_audio.delta", "delta": delta, **RESPONSE})
