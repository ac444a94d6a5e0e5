"""ServedSession: one session of OpenAI's Realtime protocol: the input buffer with its VAD, the items, and one response at a time."""

import asyncio
import base64
import binascii
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from discordplex.audio.format import MODEL
from discordplex.loopback.openai.realtime import log
from discordplex.loopback.openai.realtime.judge import Objection, client_objection
from discordplex.loopback.openai.realtime.options import RealtimeOptions
from discordplex.loopback.openai.realtime.replies import KnownItem, TurnToAnswer
from discordplex.loopback.openai.realtime.response import ServedResponse
from discordplex.loopback.openai.realtime.settings import beta_defaults, defaults, update_objection, updated, voice_of
from discordplex.loopback.openai.realtime.vad import EnergyVad, VadStarted, spoken_ms
from discordplex.loopback.openai.realtime.wire import SessionWire, expire
from discordplex.loopback.openai.shapes import tokens

LARGEST_APPEND_BYTES: Final = 15 << 20
LEAST_COMMIT_MS: Final = 100
LONGEST_ID: Final = 32
SEMANTIC_SILENCE_MS: Final = 500
"""Every turn is taken for a complete sentence."""


class ServedSession:
    """One session, from `session.created` on. Thread: loop."""

    def __init__(self, wire: SessionWire, options: RealtimeOptions, model: str) -> None:
        self.items: list[KnownItem] = []
        """What the session knows, in order."""
        self.config = defaults(f"sess_{wire.number}", model, options.voices[0], int(time.time() + options.session_s))
        self.has_spoken = False
        self.options = options
        self.wire = wire
        self._numbers = itertools.count(1)
        self._vad = EnergyVad()
        self._heard = bytearray()
        self._heard_from_ms = 0.0
        self._next_item_id = self.new_id("item")
        self._last_append: float | None = None
        self._response: ServedResponse | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: Mapping[str, Callable[[Mapping[str, Any]], Objection | None]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit_event,
            "input_audio_buffer.clear": self._clear,
            "output_audio_buffer.clear": lambda _: Objection(
                "invalid_value", "output_audio_buffer.clear is for WebRTC and SIP only.", "type"
            ),
            "conversation.item.create": self._create_item,
            "conversation.item.delete": self._delete_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.truncate": self._truncate_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    # For tests to read

    @property
    def instructions(self) -> str:
        """The instructions in force."""
        return str(self.config["instructions"])

    @property
    def voice(self) -> str:
        """The voice in force."""
        return voice_of(self.config)

    # The connection's side

    def start(self) -> None:
        """The connection is made."""
        if self.wire.fault.beta:
            self.wire.judge = lambda _: ""
            self.config = beta_defaults(self.config)
        self.wire.emit("session.created", session=self.config)

    def expire(self) -> None:
        """The session has lasted as long as it may."""
        expire(self.wire, self.wire.fault.session_s or self.options.session_s)

    def receive(self, event: Mapping[str, Any]) -> None:
        """Handle one event of the client."""
        kind = event.get("type")
        if kind != "input_audio_buffer.append":
            self.wire.add(log.EventReceived, type=str(kind), event=event)
        if self.wire.fault.beta and kind == "session.update":
            objection: Objection | None = Objection("unknown_parameter", "Unknown parameter: 'session.type'.", "session.type")
        else:
            objection = client_objection(event)
        objection = objection or self._handlers[str(kind)](event)
        if objection is not None:
            self.refuse(event, objection)

    def refuse(self, event: Mapping[str, Any], objection: Objection) -> None:
        """Answer a client's event with an error."""
        self.wire.refuse(event, objection)

    async def end(self) -> None:
        """The connection is over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What a response needs

    def new_id(self, kind: str) -> str:
        """An id that this server has not used before."""
        return f"{kind}_{self.wire.number}_{next(self._numbers)}"

    def add_item(self, item: KnownItem, after: str | None = None) -> None:
        """Put an item behind `after`, or at the end, and say so. `root` is the beginning."""
        index = len(self.items) if after is None else 0 if after == "root" else self._ids().index(after) + 1
        self.items.insert(index, item)
        self.wire.emit("conversation.item.added", previous_item_id=self.previous_id(item), item=item.shape)

    def previous_id(self, item: KnownItem) -> str | None:
        """The id of the item before this one."""
        index = self.items.index(item)
        return self.items[index - 1].id if index else None

    def status_details(self, details: Mapping[str, Any] | None) -> Any:
        """What `response.done` says about its status."""
        return details

    def ended(self, response: ServedResponse) -> None:
        """A response is over."""
        if self._response is response:
            self._response = None

    # Session and input buffer

    def objection_to_update(self, session: Mapping[str, Any]) -> Objection | None:
        """Why an update is refused, None where it is not."""
        return update_objection(session, self.config, voices=self.options.voices, has_spoken=self.has_spoken)

    def _update(self, event: Mapping[str, Any]) -> Objection | None:
        session = event["session"]
        objection = self.objection_to_update(session)
        if objection is not None:
            return objection
        self.config = updated(self.config, session)
        detection = self._detection or {}
        self._vad.prefix_padding_ms = detection.get("prefix_padding_ms", 300)
        self._vad.silence_duration_ms = detection.get("silence_duration_ms", SEMANTIC_SILENCE_MS)
        self.wire.emit("session.updated", session=self.config)
        return None

    @property
    def _detection(self) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self.config["audio"]["input"]["turn_detection"]
        return found

    def _append(self, event: Mapping[str, Any]) -> Objection | None:
        try:
            pcm = base64.b64decode(event["audio"], validate=True)
        except (binascii.Error, ValueError):
            pcm = b"\0"
        now = self.wire.clock.now()
        gap_ms = 0.0 if self._last_append is None else (now - self._last_append) * 1000
        self._last_append = now
        self.wire.add(log.AudioAppended, size=len(pcm), gap_ms=gap_ms)
        if len(pcm) % MODEL.sample_bytes:
            message = "Invalid 'audio'. Expected base64-encoded audio bytes (mono PCM16 at 24kHz) but got an invalid value."
            return Objection("invalid_value", message, "audio")
        if len(event["audio"]) > LARGEST_APPEND_BYTES:
            return Objection("string_above_max_length", "Invalid 'audio': string too long. Expected at most 15 MiB.", "audio")
        self._heard += pcm
        if self._detection is not None:
            for found in self._vad.feed(pcm):
                self._speech_started(found.at_ms) if isinstance(found, VadStarted) else self._speech_stopped(found.at_ms)
            self._forget_silence()
        return None

    def _speech_started(self, at_ms: int) -> None:
        self._drop_until(at_ms)
        self.wire.emit("input_audio_buffer.speech_started", audio_start_ms=at_ms, item_id=self._next_item_id)
        if self._response is not None and (self._detection or {}).get("interrupt_response"):
            self._response.cancel("turn_detected")

    def _speech_stopped(self, at_ms: int) -> None:
        self.wire.emit("input_audio_buffer.speech_stopped", audio_end_ms=at_ms, item_id=self._next_item_id)
        rest = self._heard[MODEL.bytes_of_ms(at_ms - self._heard_from_ms) :]
        del self._heard[len(self._heard) - len(rest) :]
        item = self._commit()
        self._heard += rest
        if (self._detection or {}).get("create_response"):
            objection = self._respond({}, item)
            if objection is not None:
                self.wire.error(objection)

    def _forget_silence(self) -> None:
        """Keep no more than the padding of what nobody said anything in."""
        if not self._vad.speaking:
            kept_ms = self._vad.prefix_padding_ms + 200
            self._drop_until(self._heard_from_ms + MODEL.duration_ms(len(self._heard)) - kept_ms)

    def _drop_until(self, at_ms: float) -> None:
        self._drop(min(MODEL.bytes_of_ms(max(0.0, at_ms - self._heard_from_ms)), len(self._heard)))

    def _drop(self, size: int) -> None:
        del self._heard[:size]
        self._heard_from_ms += MODEL.duration_ms(size)

    def _commit_event(self, event: Mapping[str, Any]) -> Objection | None:
        del event
        length_ms = MODEL.duration_ms(len(self._heard))
        if length_ms < LEAST_COMMIT_MS:
            message = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {length_ms:.2f}ms of audio."
            )
            return Objection("input_audio_buffer_commit_empty", message)
        self._vad.forget()
        self._commit()
        return None

    def _commit(self) -> KnownItem:
        """The buffer becomes an item of the person."""
        shape = {"role": "user", "content": [{"type": "input_audio", "transcript": None}], **self._message(self._next_item_id)}
        item = KnownItem(shape, bytes(self._heard))
        self._drop(len(self._heard))
        self._next_item_id = self.new_id("item")
        last = self.items[-1].id if self.items else None
        self.wire.emit("input_audio_buffer.committed", previous_item_id=last, item_id=item.id)
        self.add_item(item)
        self.wire.emit("conversation.item.done", previous_item_id=last, item=item.shape)
        if self.config["audio"]["input"]["transcription"]:
            self.spawn(self._transcribe(item))
        return item

    def _message(self, item_id: str) -> dict[str, Any]:
        return {"id": item_id, "object": "realtime.item", "type": "message", "status": "completed"}

    async def _transcribe(self, item: KnownItem) -> None:
        """The words in an item, by another model."""
        if self.options.transcription_ms:
            await self.wire.clock.sleep_until(self.wire.clock.now() + self.options.transcription_ms / 1000)
        kind = "conversation.item.input_audio_transcription"
        place = {"item_id": item.id, "content_index": 0}
        if self.wire.fault.transcription_fails:
            error = {"type": "server_error", "code": "transcription_failed", "message": "Input transcription failed.", "param": None}
            self.wire.emit(f"{kind}.failed", **place, error=error)
            return
        text = self.options.hears(spoken_ms(item.pcm))
        for token in tokens(text):
            self.wire.emit(f"{kind}.delta", **place, delta=token)
        item.shape["content"][0]["transcript"] = text
        self.wire.emit(f"{kind}.completed", **place, transcript=text, usage={"type": "duration", "seconds": item.duration_ms / 1000})

    def _clear(self, event: Mapping[str, Any]) -> Objection | None:
        del event
        self._drop(len(self._heard))
        self._vad.forget()
        self.wire.emit("input_audio_buffer.cleared")
        return None

    # Items

    def _ids(self) -> list[str]:
        return [item.id for item in self.items]

    def _item(self, event: Mapping[str, Any], verb: str) -> KnownItem | Objection:
        item_id = event["item_id"]
        found = next((item for item in self.items if item.id == item_id), None)
        message = f"Error {verb} item: the item with id '{item_id}' does not exist."
        return found or Objection("invalid_value", message, "item_id")

    def _create_item(self, event: Mapping[str, Any]) -> Objection | None:
        shape: dict[str, Any] = dict(event["item"])
        after = event.get("previous_item_id")
        shape["id"] = shape.get("id") or self.new_id("item")
        if len(shape["id"]) > LONGEST_ID:
            message = f"Invalid 'item.id': string too long. Expected a string with maximum length {LONGEST_ID}."
            return Objection("string_above_max_length", message, "item.id")
        if shape["id"] in self._ids():
            message = f"Error adding item: an item with id '{shape['id']}' already exists."
            return Objection("invalid_value", message, "item.id")
        if after not in (None, "root", *self._ids()):
            message = f"Error adding item: the previous item with id '{after}' does not exist."
            return Objection("invalid_value", message, "previous_item_id")
        item = KnownItem({"object": "realtime.item", "status": "completed", **shape})
        self.add_item(item, after)
        self.wire.emit("conversation.item.done", previous_item_id=self.previous_id(item), item=item.shape)
        return None

    def _delete_item(self, event: Mapping[str, Any]) -> Objection | None:
        item = self._item(event, "deleting")
        if isinstance(item, Objection):
            return item
        self.items.remove(item)
        self.wire.emit("conversation.item.deleted", item_id=item.id)
        return None

    def _retrieve_item(self, event: Mapping[str, Any]) -> Objection | None:
        item = self._item(event, "retrieving")
        if isinstance(item, Objection):
            return item
        self.wire.emit("conversation.item.retrieved", item=item.shape)
        return None

    def _truncate_item(self, event: Mapping[str, Any]) -> Objection | None:
        item, end_ms = self._item(event, "truncating"), event["audio_end_ms"]
        if isinstance(item, Objection):
            return item
        if item.role != "assistant" or not item.pcm:
            return Objection("invalid_value", "Only model output audio messages can be truncated.", "item_id")
        if event["content_index"]:
            return Objection("invalid_value", "Invalid 'content_index': there is no such content.", "content_index")
        if not 0 <= end_ms <= item.duration_ms:
            message = f"Audio content of {item.duration_ms}ms is already shorter than {end_ms}ms"
            return Objection("invalid_value", message, "audio_end_ms")
        item.pcm = item.pcm[: MODEL.bytes_of_ms(end_ms)]
        # The real service does so too: it cannot tell which words were heard.
        item.shape["content"][0]["transcript"] = None
        self.wire.emit("conversation.item.truncated", item_id=item.id, content_index=0, audio_end_ms=end_ms)
        return None

    # Responses

    def _create_response(self, event: Mapping[str, Any]) -> Objection | None:
        heard = next((item for item in reversed(self.items) if item.role in ("user", "assistant")), None)
        return self._respond(event.get("response") or {}, heard if heard and heard.role == "user" else None)

    def _respond(self, params: Mapping[str, Any], heard: KnownItem | None) -> Objection | None:
        if self._response is not None:
            message = f"Conversation already has an active response in progress: {self._response.id}. Wait until the response is finished."
            return Objection("conversation_already_has_active_response", message)
        instructions = params.get("instructions") or self.instructions
        turn = TurnToAnswer(
            heard.pcm if heard else b"", tuple(self.items), instructions, voice_of({"audio": params.get("audio")}) or self.voice
        )
        self._response = ServedResponse(self, params, turn)
        self.spawn(self._response.run())
        return None

    def _cancel_response(self, event: Mapping[str, Any]) -> Objection | None:
        running = self._response
        if running is None or event.get("response_id") not in (None, running.id):
            return Objection("response_cancel_not_active", "Cancellation failed: no active response found")
        running.cancel("client_cancelled")
        return None

    def spawn(self, work: Any) -> None:
        """Run something until it ends or the session does."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
