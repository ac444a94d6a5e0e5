"""LiveSession: GPT-Live: full duplex, the model owns the turns; no items, no responses, no truncation."""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from discordplex.audio.format import MODEL, MODEL_STEP_MS
from discordplex.audio.resampler import Resampler
from discordplex.loopback.openai.realtime import log
from discordplex.loopback.openai.realtime.judge import Objection, live_complaint, live_objection
from discordplex.loopback.openai.realtime.options import RealtimeOptions
from discordplex.loopback.openai.realtime.replies import KnownItem
from discordplex.loopback.openai.realtime.stepping import VoiceSteps
from discordplex.loopback.openai.realtime.vad import EnergyVad, VadStarted
from discordplex.loopback.openai.realtime.wire import SessionWire
from discordplex.loopback.openai.shapes import tokens
from discordplex.loopback.openai.voice import hum
from discordplex.loopback.personaplex.codec import STEP_BYTES
from discordplex.loopback.personaplex.voice_model import ModelOutput

DEFAULT_VOICE: Final = "marin"
USAGE_EVERY_MS: Final = 10_000


class LiveSession:
    """One session, from the upgrade on. Thread: loop."""

    def __init__(self, wire: SessionWire, options: RealtimeOptions) -> None:
        self.items: list[KnownItem] = []
        """What `session.start` said of the conversation before."""
        self.appended: list[tuple[str, str]] = []
        """Instructions, thinking and commentary that came later, each with its kind."""
        self.config: dict[str, Any] | None = None
        """The session as the server shows it; None before `session.start`."""
        self.wire = wire
        self._options = options
        self._steps = VoiceSteps(options.model, wire.clock, lambda: options.step_ms)
        self._stepping: asyncio.Task[None] | None = None
        self._vad = EnergyVad()
        self._started_ms = 0
        self._heard_ms = self._spoken_ms = self._told_ms = 0.0
        self._last_append: float | None = None
        self._muted = False
        self._to_say: list[ModelOutput] = []
        self._down: Resampler | None = None
        self._up: Resampler | None = None
        self._handlers: Mapping[str, Callable[[Mapping[str, Any]], Objection | None]] = {
            "session.start": self._start,
            "session.update": self._update,
            "session.input_audio.append": self._append,
            "session.input_audio.mute": lambda event: self._mute(event, on=True),
            "session.input_audio.unmute": lambda event: self._mute(event, on=False),
            "session.instructions.append": self._add_context,
            "session.thinking.append": self._add_context,
            "session.commentary.append": self._add_context,
            "session.close": self._close,
        }

    # For tests to read

    @property
    def instructions(self) -> str:
        """The instructions in force."""
        return str((self.config or {}).get("instructions") or "")

    @property
    def voice(self) -> str:
        """The voice in force."""
        return str(self.config["audio"]["output"]["voice"]) if self.config else ""

    # The connection's side

    def start(self) -> None:
        """The connection is made: nothing is said before `session.start`."""
        self.wire.judge = live_complaint
        self.wire.names_cause = False

    def receive(self, event: Mapping[str, Any]) -> None:
        """Handle one event of the client."""
        kind = event.get("type")
        if kind != "session.input_audio.append":
            self.wire.add(log.EventReceived, type=str(kind), event=event)
        objection = live_objection(event)
        if objection is None and self.config is None and kind != "session.start":
            objection = Objection("session_not_started", "Send session.start first and wait for session.started.")
        if objection is None:
            handler = self._handlers.get(str(kind))
            objection = handler(event) if handler else Objection("unsupported_event", f"The stand-in does not know {kind}.", "type")
        if objection is not None:
            self.refuse(event, objection)

    def refuse(self, event: Mapping[str, Any], objection: Objection) -> None:
        """Answer a client's event with an error."""
        kind = str(event.get("type", ""))
        self.wire.add(log.EventRefused, type=kind, code=objection.code, message=objection.message, param=objection.param)
        error = {"type": objection.type, "code": objection.code, "message": objection.message, "param": objection.param}
        self._emit(event, "error", error=error)

    async def end(self) -> None:
        """The connection is over."""
        if self._stepping is not None:
            self._stepping.cancel()
            await asyncio.gather(self._stepping, return_exceptions=True)

    def expire(self) -> None:
        """The session has lasted as long as it may."""
        if self.config is not None:
            self._closed("expired", {})
        else:
            self.wire.close(1000)

    # Session

    def _start(self, event: Mapping[str, Any]) -> Objection | None:
        session = event["session"]
        if self.config is not None:
            return Objection("session_already_started", "The session has been started already.")
        if session["model"] not in self._options.models:
            return Objection("model_not_found", f"The model `{session['model']}` does not exist.", "session.model")
        audio = session.get("audio") or {}
        form = audio.get("format") or {"type": "audio/pcm", "rate": MODEL.rate_hz}
        if form["type"] != "audio/pcm":
            return Objection("invalid_value", "The stand-in speaks audio/pcm only.", "session.audio.format.type")
        if form["rate"] != MODEL.rate_hz:
            self._up, self._down = Resampler(form["rate"], MODEL.rate_hz), Resampler(MODEL.rate_hz, form["rate"])
        voice = (audio.get("output") or {}).get("voice") or DEFAULT_VOICE
        self.config = {
            **session,
            "id": f"live_{self.wire.number}",
            "status": "active",
            "expires_at": int(time.time() + self._options.session_s),
            "audio": {"format": form, "output": {"voice": voice}},
        }
        self.items += [
            KnownItem({"id": f"item_{number}", "type": "message", **item}) for number, item in enumerate(session.get("input") or [])
        ]
        self._emit(event, "session.started", session=self.config)
        self._stepping = asyncio.ensure_future(self._steps.run(self._speak))
        return None

    def _update(self, event: Mapping[str, Any]) -> None:
        self._emit(event, "session.updated", session=self.config)

    def _add_context(self, event: Mapping[str, Any]) -> None:
        """Instructions and thinking are known from now on; commentary is said, too."""
        kind = str(event["type"]).split(".")[1]
        self.appended.append((kind, event["content"]))
        if kind == "commentary":
            pcm = hum(event["content"], self.voice)
            pcm += bytes(-len(pcm) % STEP_BYTES)
            pieces = [(event["content"],), *[()] * (len(pcm) // STEP_BYTES - 1)]
            self._to_say += [ModelOutput(pcm[at * STEP_BYTES :][:STEP_BYTES], said) for at, said in enumerate(pieces)]
        now_ms = int(self._spoken_ms)
        self._emit(event, f"session.{kind}.appended", start_ms=now_ms, end_ms=now_ms)

    def _close(self, event: Mapping[str, Any]) -> None:
        self._closed("close_requested", event)

    def _closed(self, reason: str, event: Mapping[str, Any]) -> None:
        self._emit(event, "session.closed", reason=reason, session=self.config, usage=self._usage())
        self.wire.close(1000)

    # Sound

    def _mute(self, event: Mapping[str, Any], *, on: bool) -> None:
        self._muted = on
        self._emit(event, f"session.input_audio.{'muted' if on else 'unmuted'}")

    def _append(self, event: Mapping[str, Any]) -> Objection | None:
        try:
            pcm = base64.b64decode(event["audio"], validate=True)
        except (binascii.Error, ValueError):
            pcm = b"\0"
        if len(pcm) % MODEL.sample_bytes:
            return Objection("invalid_value", "Invalid 'audio': base64 of whole samples is expected.", "audio")
        now = self.wire.clock.now()
        gap_ms = 0.0 if self._last_append is None else (now - self._last_append) * 1000
        self._last_append = now
        self.wire.add(log.AudioAppended, size=len(pcm), gap_ms=gap_ms)
        if self._up is not None:
            pcm = self._up.convert(pcm)
        pcm = bytes(len(pcm)) if self._muted else pcm
        self._steps.hear(pcm)
        self._heard_ms += MODEL.duration_ms(len(pcm))
        for found in self._vad.feed(pcm):
            if isinstance(found, VadStarted):
                self._started_ms = found.at_ms
            else:
                self._transcribe(self._started_ms, found.at_ms)
        if self._heard_ms - self._told_ms >= USAGE_EVERY_MS:
            self._told_ms = self._heard_ms
            self.wire.emit("session.usage.updated", usage=self._usage(), context_window={"usage_ratio": 0.01})
        return None

    def _transcribe(self, start_ms: int, end_ms: int) -> None:
        for word in tokens(self._options.hears(end_ms - start_ms)):
            self.wire.emit("session.input_transcript.delta", delta=word, start_ms=start_ms, end_ms=end_ms)

    def _speak(self, spoken: ModelOutput) -> None:
        if self._to_say:
            spoken = self._to_say.pop(0)
        start_ms = int(self._spoken_ms)
        self._spoken_ms += MODEL_STEP_MS
        pcm = spoken.pcm if self._down is None else self._down.convert(spoken.pcm)
        event = {"type": "session.output_audio.delta"}
        self.wire.send({**event, "delta": base64.b64encode(pcm).decode()}, shown=event, audio_bytes=len(pcm))
        for piece in spoken.pieces:
            self.wire.emit("session.output_transcript.delta", delta=piece, start_ms=start_ms, end_ms=int(self._spoken_ms))

    # Shapes

    def _usage(self) -> dict[str, Any]:
        return {"seconds": self._heard_ms / 1000}

    def _emit(self, cause: Mapping[str, Any], kind: str, /, **fields: Any) -> None:
        if cause.get("event_id"):
            fields["client_event_id"] = cause["event_id"]
        self.wire.emit(kind, **fields)
