"""SessionWire: one session's WebSocket: events out in order, each judged and logged, and ways to end it."""

import asyncio
import base64
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from discordplex.audio.format import MODEL
from discordplex.clock import Clock
from discordplex.loopback.log import Log, Record
from discordplex.loopback.openai.realtime import log
from discordplex.loopback.openai.realtime.faults import RealtimeFault, error_message
from discordplex.loopback.openai.realtime.judge import Objection, server_complaint
from discordplex.loopback.sockets import close_websocket, reset_connection


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """Close with this code, after what was sent before."""

    code: int
    reason: str = ""


class SessionWire:
    """`emit` never waits; run `pump` beside the reader. Unbounded: the real service drops nothing. Thread: loop."""

    def __init__(
        self,
        number: int,
        websocket: web.WebSocketResponse,
        request: web.Request,
        *,
        records: Log,
        clock: Clock,
        fault: RealtimeFault,
    ) -> None:
        self.number = number
        self.clock = clock
        self.fault = fault
        self.judge: Callable[[Mapping[str, Any]], str] = server_complaint
        """What is wrong with an event that is to be sent; empty where nothing is."""
        self.closed_with: int | None = None
        """The code that the server closed with."""
        self.was_reset = False
        self.names_cause = True
        """Whether the error of an event names the client's event."""
        self._socket = websocket
        self._request = request
        self._records = records
        self._events = itertools.count(1)
        self._outbox: asyncio.Queue[str | bytes | CloseFrame | None] = asyncio.Queue()
        """None is a TCP reset."""
        self._stalled = fault.silent
        self._events_sent = 0
        self._sent_ms = 0.0
        self._half_sample = b""

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Send an event."""
        self.send({"type": kind, "event_id": f"event_{self.number}_{next(self._events)}", **fields})

    def emit_audio(self, kind: str, pcm: bytes, /, **fields: Any) -> None:
        """Send an event whose `delta` is this sound."""
        if self.fault.split_samples:
            # The last byte comes with the next piece.
            pcm = self._half_sample + pcm
            pcm, self._half_sample = pcm[:-1], pcm[-1:]
        event = {"type": kind, "event_id": f"event_{self.number}_{next(self._events)}", **fields}
        self.send({**event, "delta": base64.b64encode(pcm).decode()}, shown=event, audio_bytes=len(pcm))

    def send(self, event: Mapping[str, Any], *, shown: Mapping[str, Any] | None = None, audio_bytes: int = 0) -> None:
        """Send this event as it is; `shown` is what the log has of it."""
        if self._stalled or self.was_reset or self.closed_with is not None:
            return
        complaint = self.judge(event)
        if complaint:
            self.add(log.InvalidEventSent, type=str(event.get("type")), why=complaint)
        # Logged first: a client may answer before the writer runs again.
        text = json.dumps(event)
        if self.fault.odd:
            self.inject(json.dumps({"type": "weather.changed", "event_id": None, "temperature": [{"celsius": 21.5}]}))
            text = json.dumps({"weather": {"type": "fine"}, **event, "season": [1, None, "spring"]})
        # A copy, since items go on changing.
        shown = json.loads(text) if shown is None else shown
        self.add(log.EventSent, type=str(event.get("type")), event=shown, audio_bytes=audio_bytes)
        self.inject(text)
        before, self._events_sent = self._events_sent, self._events_sent + 1
        if not before and self.fault.messages_after_ms is None:
            self._inject_all()
        if audio_bytes:
            self._misbehave(audio_bytes)

    def _misbehave(self, audio_bytes: int) -> None:
        """Do what the fault says for the sound that has been sent by now."""
        before, fault = self._sent_ms, self.fault
        self._sent_ms += MODEL.duration_ms(audio_bytes)

        def is_due(at_ms: float | None) -> bool:
            return at_ms is not None and before < (at_ms or 1) <= self._sent_ms

        if is_due(fault.messages_after_ms):
            self._inject_all()
        if is_due(fault.error_after_ms):
            self.error(Objection("server_error", error_message("server_error"), type="server_error"))
        if is_due(fault.stall_after_ms):
            self._stalled = True
        if is_due(fault.reset_after_ms):
            self.reset()
        if is_due(fault.close_after_ms):
            self.close(fault.close or 1011)

    def _inject_all(self) -> None:
        for message in self.fault.messages:
            self.inject(message)

    def refuse(self, event: Mapping[str, Any], objection: Objection) -> None:
        """Answer a client's event with an error."""
        kind = str(event.get("type", ""))
        self.add(log.EventRefused, type=kind, code=objection.code, message=objection.message, param=objection.param)
        event_id = event.get("event_id")
        self.error(objection, event_id if isinstance(event_id, str) else None)

    def error(self, objection: Objection, event_id: str | None = None) -> None:
        """Send an error event."""
        error = {"type": objection.type, "code": objection.code, "message": objection.message, "param": objection.param}
        self.emit("error", error={**error, "event_id": event_id} if self.names_cause else error)

    def inject(self, message: str | bytes) -> None:
        """Send any message after the waiting ones; bytes go out as a binary frame."""
        self._outbox.put_nowait(message)

    def close(self, code: int, reason: str = "") -> None:
        """Close after the waiting messages. The first close counts."""
        if self.closed_with is None and not self.was_reset:
            self.closed_with = code
            self._outbox.put_nowait(CloseFrame(code, reason))

    def reset(self) -> None:
        """Reset the TCP connection after the waiting messages, as when the process is killed."""
        self.was_reset = True
        self._outbox.put_nowait(None)

    def add(self, kind: type[Record], /, **facts: object) -> None:
        """Log something that happened to this session."""
        self._records.add(kind(self.clock.now(), self.number, **facts))

    async def pump(self) -> None:
        """Send what waits, until the close or until the connection is lost."""
        while True:
            message = await self._outbox.get()
            try:
                if message is None:
                    reset_connection(self._request.transport)
                    return
                if isinstance(message, CloseFrame):
                    await close_websocket(self._socket, message.code, message.reason)
                    return
                if isinstance(message, bytes):
                    await self._socket.send_bytes(message)
                else:
                    await self._socket.send_str(message)
            except ConnectionError:
                return


def expire(wire: SessionWire, session_s: float) -> None:
    """End a session by the service's clock, as OpenAI does."""
    message = error_message("session_expired").format(minutes=session_s / 60)
    wire.error(Objection("session_expired", message))
    wire.close(1001, message)
