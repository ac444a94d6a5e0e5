"""A realtime server that says what a test tells it to, and nothing else but the handshake."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from discordplex.loopback.clock import settle


class ScriptedServer:
    """One session at a time: `send` to its client, and read what the client has `sent`."""

    def __init__(self) -> None:
        self.url = ""
        self.refuses = False
        """Set it to refuse every setting of a session."""
        self.sent: list[dict[str, Any]] = []
        self._connection: ServerConnection | None = None

    async def serve(self, connection: ServerConnection) -> None:
        """Open a session, and keep what comes."""
        self._connection = connection
        await connection.send(json.dumps({"type": "session.created", "session": {"type": "realtime"}}))
        async for message in connection:
            event = json.loads(message)
            if event["type"] == "session.update" and self.refuses:
                error = {"type": "invalid_request_error", "code": "invalid_value", "param": "session", "event_id": event["event_id"]}
                await connection.send(json.dumps({"type": "error", "error": error}))
            elif event["type"] == "session.update":
                await connection.send(json.dumps({"type": "session.updated", "session": event["session"]}))
            if event["type"] == "session.start":
                await connection.send(json.dumps({"type": "session.started"}))
            if not event["type"].endswith(".append"):
                self.sent.append(event)

    async def send(self, *events: dict[str, Any]) -> None:
        """Send, and return when the client has taken it and answered."""
        assert self._connection is not None
        for event in events:
            await self._connection.send(json.dumps(event))
        await (await self._connection.ping())
        await settle()
        await (await self._connection.ping())
        await settle()

    def received(self, kind: str) -> list[dict[str, Any]]:
        """What the client sent of this type."""
        return [event for event in self.sent if event["type"] == kind]


@asynccontextmanager
async def scripted() -> AsyncIterator[ScriptedServer]:
    """The server, listening."""
    server = ScriptedServer()
    async with serve(server.serve, "127.0.0.1", 0) as listening:
        server.url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}/v1"
        yield server


def started(item: str, at_ms: float) -> dict[str, Any]:
    """The server hears somebody."""
    return {"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": at_ms}


def committed(item: str, at_ms: float | None = None) -> tuple[dict[str, Any], ...]:
    """They have finished."""
    stopped = {"type": "input_audio_buffer.speech_stopped", "item_id": item, "audio_end_ms": at_ms}
    return (*([] if at_ms is None else [stopped]), {"type": "input_audio_buffer.committed", "item_id": item})


def transcribed(item: str, text: str) -> dict[str, Any]:
    """The words of somebody."""
    return {"type": "conversation.item.input_audio_transcription.completed", "item_id": item, "transcript": text}


def begun(response: str) -> dict[str, Any]:
    """A reply begins."""
    return {"type": "response.created", "response": {"id": response}}


def sound(response: str, item: str, milliseconds: int) -> dict[str, Any]:
    """A piece of a reply."""
    delta = base64.b64encode(bytes(48 * milliseconds)).decode()
    return {"type": "response.output_audio.delta", "response_id": response, "item_id": item, "delta": delta}


def done(response: str, code: str = "") -> dict[str, Any]:
    """A reply ends, or fails."""
    failed = {"status": "failed", "status_details": {"error": {"code": code}}}
    return {"type": "response.done", "response": {"id": response, **(failed if code else {"status": "completed"})}}
