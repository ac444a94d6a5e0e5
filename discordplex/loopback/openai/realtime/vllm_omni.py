"""VllmOmniSession: PersonaPlex as vLLM-Omni serves it: full duplex, the client speaks first, voice and instructions are fixed."""

import asyncio
import base64
import binascii
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from discordplex.audio.samples import pcm_of
from discordplex.loopback.openai.realtime import log
from discordplex.loopback.openai.realtime.judge import Objection, additive_complaint
from discordplex.loopback.openai.realtime.options import RealtimeOptions
from discordplex.loopback.openai.realtime.replies import KnownItem
from discordplex.loopback.openai.realtime.stepping import VoiceSteps
from discordplex.loopback.openai.realtime.wire import SessionWire
from discordplex.loopback.personaplex.voice_model import ModelOutput

DEFAULT_VOICE: Final = "NATF2.pt"
DEFAULT_PERSONA: Final = "You are a wise and friendly teacher. Answer questions or provide advice in a clear and engaging way."
CAPABILITIES: Final[Mapping[str, Any]] = {
    "implementation_level": "model_native_duplex",
    "supports_input_append": True,
    "supports_barge_in": False,
    "supports_session_resume": False,
    "supports_session_lease": True,
    "supports_audio_truncate": False,
    "supports_client_commit": False,
    "supports_external_turn_signal": False,
    "supports_chat_completions": False,
    "chunk_period_ms": 80,
    "input_modes": ["append_audio_chunk"],
    "signal_sources": ["model_native"],
    "target_barge_in_latency_ms": None,
}
DELAYED_FRAMES: Final = 1
"""The codec hands a frame over when the next one is there."""
NOT_SUPPORTED: Final[Mapping[str, tuple[str, str]]] = {
    "input_audio_buffer.commit": ("client_commit_unsupported", "This model takes no commits."),
    "conversation.item.create": ("item_create_unsupported", "This model takes no items."),
    "conversation.item.truncate": ("audio_truncate_unsupported", "This model cannot truncate audio."),
    "response.create": ("response_create_without_input", "response.create requires committed audio input."),
    "barge_in": ("barge_in_unsupported", "This model does not support barge-in."),
    "session.resume": ("session_resume_unsupported", "This model does not support session resume."),
}
"""What PersonaPlex does not do. The code of `response.create` is the real one, the others are assumed."""


class VllmOmniSession:
    """One session, from the upgrade on. Thread: loop."""

    def __init__(
        self,
        wire: SessionWire,
        options: RealtimeOptions,
        query: Mapping[str, str],
        taken: set["VllmOmniSession"],
    ) -> None:
        self.items: list[KnownItem] = []
        """Always empty: the model knows what it hears."""
        self.instructions = ""
        self.voice = ""
        self.wire = wire
        self._options = options
        self._query = query
        self._taken = taken
        """The sessions that have a slot."""
        self._sequence = itertools.count(1)
        self._responses = itertools.count(1)
        self._response_id = ""
        self._steps = VoiceSteps(options.model, wire.clock, lambda: options.step_ms)
        self._stepping: asyncio.Task[None] | None = None
        self._waiting: list[ModelOutput] = []
        self._frames = self._sent_frames = 0
        self._said = ""
        self._last_append: float | None = None
        self._handlers: Mapping[str, Callable[[Mapping[str, Any]], Objection | None]] = {
            "session.update": self._update,
            "session.heartbeat": lambda _: self._emit("session.heartbeat_ack", session_id=self._id),
            "session.event_ack": lambda _: None,
            "session.close": self._close,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.clear": lambda _: self._emit("input_audio_buffer.cleared"),
            "response.cancel": self._cancel,
            **dict.fromkeys(NOT_SUPPORTED, self._not_supported),
        }

    @property
    def is_open(self) -> bool:
        """Whether it has a slot."""
        return self in self._taken

    @property
    def _id(self) -> str:
        return f"duplex-{self.wire.number}"

    # The connection's side

    def start(self) -> None:
        """The connection is made. With a model in the URL the server opens a session of its own at once."""
        self.wire.judge = additive_complaint
        if self._query.get("duplex", "1") in ("0", "false", "off"):
            self.wire.send({"type": "error", "error": "Realtime API is not available", "code": "not_available"})
        elif "model" in self._query and self._query.get("autostart") != "0":
            self._open({})

    def expire(self) -> None:
        """The session has lasted as long as it may."""
        self._emit("session.expired", session_id=self._id, reason="idle_ttl_expired")
        self.wire.close(1000)

    def receive(self, event: Mapping[str, Any]) -> None:
        """Handle one event of the client."""
        kind = str(event.get("type"))
        if kind != "input_audio_buffer.append":
            self.wire.add(log.EventReceived, type=kind, event=event)
        if not self.is_open and kind != "session.update":
            self.wire.add(log.EventRefused, type=kind, code="session_not_open", message="no session.update came first")
            self.wire.send({"type": "error", "error": "Send session.update first.", "code": "session_not_open"})
            return
        handler = self._handlers.get(kind)
        objection = handler(event) if handler else Objection("unsupported_event", f"Unsupported event type: {kind}", "type")
        if objection is not None:
            self.refuse(event, objection)

    def refuse(self, event: Mapping[str, Any], objection: Objection) -> None:
        """Answer a client's event with an error."""
        self.wire.refuse(event, objection)

    async def end(self) -> None:
        """The connection is over: the slot is free."""
        self._taken.discard(self)
        if self._stepping is not None:
            self._stepping.cancel()
            await asyncio.gather(self._stepping, return_exceptions=True)

    # Session

    def _update(self, event: Mapping[str, Any]) -> Objection | None:
        session = event.get("session")
        if not isinstance(session, dict):
            return Objection("invalid_argument", "session.update requires a session object.", "session")
        if not self.is_open:
            return self._open(session)
        if session.get("voice", self.voice) != self.voice:
            return Objection("voice_update_unsupported", "PersonaPlex cannot change its voice within a session.", "voice")
        if session.get("instructions", self.instructions) != self.instructions:
            return Objection("persona_update_unsupported", "PersonaPlex cannot change its persona within a session.", "instructions")
        self._emit("session.updated", session=self._shape())
        return None

    def _open(self, session: Mapping[str, Any]) -> Objection | None:
        voice = session.get("voice") or DEFAULT_VOICE
        if voice not in self._options.voices:
            return Objection("invalid_voice", f"voice must be a bundled .pt basename, not {voice!r}.", "voice")
        if session.get("input_audio_format", "pcm_f32le") != "pcm_f32le":
            return Objection("unsupported_input_audio_format", "PersonaPlex accepts 24 kHz pcm_f32le only.", "input_audio_format")
        if session.get("turn_detection") is not None:
            message = "turn_detection is unsupported; use turn_detection=null for model-owned listen/speak"
            return Objection("unsupported_turn_detection", message, "turn_detection")
        if len(self._taken) >= self._options.max_sessions:
            message = f"duplex_session_capacity_exhausted: limit={self._options.max_sessions}"
            return Objection("resource_exhausted", message, type="rate_limit_error")
        self._taken.add(self)
        self.voice, self.instructions = voice, session.get("instructions") or DEFAULT_PERSONA
        self._emit("session.created", attachment_generation=1, resume_token=f"rt_{self.wire.number}", session=self._shape())
        self._stepping = asyncio.ensure_future(self._steps.run(self._speak))
        self._emit("session.updated", session=self._shape())
        return None

    def _close(self, event: Mapping[str, Any]) -> None:
        del event
        self._finish("completed", None)
        self._taken.discard(self)
        closed = {"type": "session.closed", "reason": "client_close"}
        self._emit("session.closed", session_id=self._id, epoch=0, reason="client_close", event=closed)
        self.wire.close(1000)

    def _outgrow(self) -> None:
        """The model's context is full: an error, a failed response, and the session is closed."""
        code, length = "runtime_data_plane_stream_failed", self._frames
        message = f"context_length_exceeded: streaming session prompt would grow to {length} tokens"
        self.wire.error(Objection(code, message, type="server_error"))
        self._finish("failed", {"type": "failed", "reason": code})
        self._taken.discard(self)
        self._emit("session.closed", session_id=self._id, epoch=0, reason=code, event={"type": "session.closed", "reason": code})
        self.wire.close(1000)

    def _not_supported(self, event: Mapping[str, Any]) -> Objection:
        return Objection(*NOT_SUPPORTED[event["type"]])

    # Sound in

    def _append(self, event: Mapping[str, Any]) -> Objection | None:
        form, rate_hz = event.get("format", "pcm16"), event.get("sample_rate_hz", 16_000)
        if (form, rate_hz) != ("pcm_f32le", 24_000):
            return Objection("invalid_audio_format", f"PersonaPlex accepts 24 kHz pcm_f32le only, not {form} at {rate_hz} Hz.", "format")
        try:
            data = base64.b64decode(event.get("audio", ""), validate=True)
            samples = np.frombuffer(data, "<f4")
        except (binascii.Error, ValueError, TypeError):
            return Objection("invalid_audio", "audio must be base64 of whole 32-bit samples.", "audio")
        if not np.isfinite(samples).all():
            return Objection("invalid_audio", "audio holds samples that are not finite.", "audio")
        now = self.wire.clock.now()
        gap_ms = 0.0 if self._last_append is None else (now - self._last_append) * 1000
        self._last_append = now
        pcm = pcm_of(samples)
        self.wire.add(log.AudioAppended, size=len(pcm), gap_ms=gap_ms)
        self._steps.hear(pcm)
        return None

    # Sound out

    def _speak(self, spoken: ModelOutput) -> None:
        """Take one step's output; send a chunk when enough is there."""
        self._frames += 1
        if self._frames > self._options.frame_limit:
            if self.is_open:
                self._outgrow()
            return
        self._waiting.append(spoken)
        wanted = self._options.chunk_frames if self._sent_frames else 1
        if len(self._waiting) >= wanted + DELAYED_FRAMES:
            self._send(self._waiting[:wanted])
            del self._waiting[:wanted]

    def _send(self, frames: list[ModelOutput]) -> None:
        if not self._response_id:
            self._begin()
        pcm, text = b"".join(frame.pcm for frame in frames), "".join(piece for frame in frames for piece in frame.pieces)
        self._sent_frames += len(frames)
        self._said += text
        place = self._place()
        metadata = {"session_id": self._id, "epoch": 0, "model_speak": True, "end_of_turn": False, "audio_duration_ms": len(frames) * 80}
        more = {"format": "pcm16", "sample_rate_hz": 24_000, "metadata": metadata, "server_event_seq": next(self._sequence)}
        self.wire.emit_audio("response.output_audio.delta", pcm, **place, **more)
        self._emit("response.output_audio_transcript.delta", **place, delta=text)

    def _begin(self) -> None:
        self._response_id = f"resp_{self.wire.number}_{next(self._responses)}"
        place, item = self._place(), self._item("in_progress")
        self._emit("response.created", response_id=self._response_id, response=self._response("in_progress", None))
        for kind in ("conversation.item.added", "conversation.item.created"):
            self._emit(kind, previous_item_id=None, item=item)
        self._emit("response.output_item.added", response_id=self._response_id, output_index=0, item=item)
        self._emit("response.content_part.added", **place, part={"type": "audio", "transcript": ""})
        self._emit("response.speak", **place, metadata={"session_id": self._id, "epoch": 0, "model_speak": True})

    def _cancel(self, event: Mapping[str, Any]) -> Objection | None:
        """Ends the response, and the model's conversation with it."""
        del event
        if not self._response_id:
            return Objection("response_cancel_not_active", "There is no active response.")
        self._finish("cancelled", {"type": "cancelled", "reason": "client_cancelled"})
        self._steps.restart()
        self._waiting.clear()
        return None

    def _finish(self, status: str, details: Mapping[str, Any] | None) -> None:
        if not self._response_id:
            return
        place, item = self._place(), self._item("completed" if status == "completed" else "incomplete")
        self._emit("response.output_audio.done", **place)
        self._emit("response.output_audio_transcript.done", **place, transcript=self._said)
        self._emit("response.content_part.done", **place, part={"type": "audio", "transcript": self._said})
        self._emit("response.output_item.done", response_id=self._response_id, output_index=0, item=item)
        self._emit("conversation.item.done", previous_item_id=None, item=item)
        self._emit("response.done", response_id=self._response_id, response=self._response(status, details))
        self._emit("rate_limits.updated", rate_limits=[])
        self._response_id = self._said = ""

    # Shapes

    def _emit(self, kind: str, /, **fields: Any) -> None:
        self.wire.emit(kind, **fields, server_event_seq=next(self._sequence))

    def _place(self) -> dict[str, Any]:
        return {"response_id": self._response_id, "item_id": f"item_{self._response_id}", "output_index": 0, "content_index": 0}

    def _item(self, status: str) -> dict[str, Any]:
        content = [] if status == "in_progress" else [{"type": "output_audio", "transcript": self._said}]
        shape = {"id": f"item_{self._response_id}", "object": "realtime.item", "type": "message", "role": "assistant"}
        return {**shape, "status": status, "content": content}

    def _response(self, status: str, details: Mapping[str, Any] | None) -> dict[str, Any]:
        output = [] if status == "in_progress" else [self._item("completed" if status == "completed" else "incomplete")]
        shape = {"id": self._response_id, "object": "realtime.response", "status": status, "status_details": details}
        return {**shape, "output": output, "modalities": ["audio", "text"]}

    def _shape(self) -> dict[str, Any]:
        several = self._options.max_sessions > 1
        pcm = {"type": "audio/pcm", "rate": 24_000}
        return {
            "object": "realtime.session",
            "type": "realtime",
            "id": self._id,
            "model": self._options.models[0],
            "state": "open",
            "turn_state": "idle",
            "epoch": 0,
            "turn_id": 0,
            "modalities": ["audio", "text"],
            "output_modalities": ["audio", "text"],
            "instructions": self.instructions,
            "voice": self.voice,
            "input_audio_format": "pcm_f32le",
            "output_audio_format": "pcm16",
            "audio": {"input": {"format": pcm, "sample_rate_hz": 24_000}, "output": {"format": pcm}},
            "turn_detection": None,
            "capabilities": {
                **CAPABILITIES,
                "supports_multi_session": several,
                "supports_multi_session_same_replica": several,
            },
        }
