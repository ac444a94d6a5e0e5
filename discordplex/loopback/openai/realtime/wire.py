"""SessionWire: one session's WebSocket: events out in order, each judged and logged, and ways to end it."""

import asyncio
import base64
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from discordplex.clock import Clock
from discordplex.loopback.log import Log, Record
from discordplex.loopback.openai.realtime import log
from discordplex.loopback.openai.realtime.judge import Objection, server_complaint
from discordplex.loopback.sockets import close_websocket, reset_connection


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """Close with this code, after what was sent before."""

    code: int
    reason: str = ""


class SessionWire:
    """`emit` never waits; run `pump` beside the reader. Unbounded: the real service drops nothing. Thread: loop."""

    def __init__(self, number: int, websocket: web.WebSocketResponse, request: web.Request, records: Log, clock: Clock) -> None:
        self.number = number
        self.clock = clock
        self.judge: Callable[[Mapping[str, Any]], str] = server_complaint
        """What is wrong with an event that is to be sent; empty where nothing is."""
        self.closed_with: int | None = None
        """The code that the server closed with."""
        self._socket = websocket
        self._request = request
        self._records = records
        self._events = itertools.count(1)
        self._outbox: asyncio.Queue[str | bytes | CloseFrame] = asyncio.Queue()

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Send an event."""
        self.send({"type": kind, "event_id": f"event_{self.number}_{next(self._events)}", **fields})

    def emit_audio(self, kind: str, pcm: bytes, /, **fields: Any) -> None:
        """Send an event whose `delta` is this sound."""
        event = {"type": kind, "event_id": f"event_{self.number}_{next(self._events)}", **fields}
        self.send({**event, "delta": base64.b64encode(pcm).decode()}, shown=event, audio_bytes=len(pcm))

    def send(self, event: Mapping[str, Any], *, shown: Mapping[str, Any] | None = None, audio_bytes: int = 0) -> None:
        """Send this event as it is; `shown` is what the log has of it."""
        complaint = self.judge(event)
        if complaint:
            self.add(log.InvalidEventSent, type=str(event.get("type")), why=complaint)
        # Logged first: a client may answer before the writer runs again.
        text = json.dumps(event)
        # A copy, since items go on changing.
        shown = json.loads(text) if shown is None else shown
        self.add(log.EventSent, type=str(event.get("type")), event=shown, audio_bytes=audio_bytes)
        self.inject(text)

    def refuse(self, event: Mapping[str, Any], objection: Objection) -> None:
        """Answer a client's event with an error."""
        kind = str(event.get("type", ""))
        self.add(log.EventRefused, type=kind, code=objection.code, message=objection.message, param=objection.param)
        event_id = event.get("event_id")
        self.error(objection, event_id if isinstance(event_id, str) else None)

    def error(self, objection: Objection, event_id: str | None = None) -> None:
        """Send an error event."""
        error = {"type": objection.type, "code": objection.code, "message": objection.message, "param": objection.param}
        self.emit("error", error={**error, "event_id": event_id})

    def inject(self, message: str | bytes) -> None:
        """Send any message after the waiting ones; bytes go out as a binary frame."""
        self._outbox.put_nowait(message)

    def close(self, code: int, reason: str = "") -> None:
        """Close after the waiting messages. The first close counts."""
        if self.closed_with is None:
            self.closed_with = code
            self._outbox.put_nowait(CloseFrame(code, reason))

    def reset(self) -> None:
        """Reset the TCP connection, as when the process is killed."""
        reset_connection(self._request.transport)

    def add(self, kind: type[Record], /, **facts: object) -> None:
        """Log something that happened to this session."""
        self._records.add(kind(self.clock.now(), self.number, **facts))

    async def pump(self) -> None:
        """Send what waits, until the close or until the connection is lost."""
        while True:
            message = await self._outbox.get()
            try:
                if isinstance(message, CloseFrame):
                    await close_websocket(self._socket, message.code, message.reason)
                    return
                if isinstance(message, bytes):
                    await self._socket.send_bytes(message)
                else:
                    await self._socket.send_str(message)
            except ConnectionError:
                return
