"""A stand-in realtime server, and the official SDK as its client."""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import openai
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from discordplex.audio.format import MODEL
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.loopback.timeouts import wait_for

MODEL_NAME = "gpt-realtime-2.1-mini"


def tone(duration_ms: float, pitch_hz: float = 220.0) -> bytes:
    """Loud sound at 24 kHz."""
    time = np.arange(int(MODEL.rate_hz * duration_ms / 1000)) / MODEL.rate_hz
    return bytes((8000 * np.sin(2 * np.pi * pitch_hz * time)).astype("<i2").tobytes())


def silence(duration_ms: float) -> bytes:
    return bytes(MODEL.bytes_of_ms(duration_ms))


class SdkClient:
    """The official SDK's connection: what it receives are its own typed events."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def send(self, kind: str, **fields: Any) -> None:
        event: Any = {"type": kind, **fields}
        await self.connection.send(event)

    async def say(self, *pieces: bytes) -> None:
        """Send sound in appends of 20 ms, as fast as it goes."""
        pcm = b"".join(pieces)
        for start in range(0, len(pcm), MODEL.frame_bytes):
            audio = base64.b64encode(pcm[start : start + MODEL.frame_bytes]).decode()
            await self.connection.input_audio_buffer.append(audio=audio)

    async def until(self, kind: str) -> Any:
        """The next event of this type; all before it are kept in `events`."""
        while True:
            event = await wait_for(self.connection.recv(), 10)
            self.events.append(event)
            if event.type == kind:
                return event

    @property
    def order(self) -> list[str]:
        """The types of what came, repeated ones once."""
        kinds = [event.type for event in self.events]
        return [kind for index, kind in enumerate(kinds) if not index or kinds[index - 1] != kind]

    def sound(self) -> bytes:
        """All sound that came."""
        return b"".join(base64.b64decode(event.delta) for event in self.events if event.type == "response.output_audio.delta")


@asynccontextmanager
async def sdk(server: RealtimeServer, model: str = MODEL_NAME, key: str = "sk-test") -> AsyncIterator[SdkClient]:
    """Connect with the official SDK."""
    async with (
        openai.AsyncOpenAI(api_key=key, websocket_base_url=server.url, max_retries=0) as client,
        client.realtime.connect(model=model) as connection,
    ):
        yield SdkClient(connection)


def settings(*, output: dict[str, Any] | None = None, modalities: Sequence[str] = ("audio",), **audio_input: Any) -> dict[str, Any]:
    """The session of an update."""
    return {"type": "realtime", "output_modalities": list(modalities), "audio": {"input": audio_input, "output": output or {}}}
