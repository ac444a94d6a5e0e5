"""ServedResponse: one reply of the model, sent faster than it is spoken, and its events in the order in which OpenAI sends them."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Protocol

from discordplex.audio.format import MODEL
from discordplex.loopback.openai.realtime.faults import error_message, error_type
from discordplex.loopback.openai.realtime.options import RealtimeOptions
from discordplex.loopback.openai.realtime.replies import KnownItem, TurnToAnswer
from discordplex.loopback.openai.realtime.wire import SessionWire
from discordplex.loopback.openai.shapes import tokens

DELTA_MS: Final = 200
"""Sound in one delta."""

CancelReason = Literal["turn_detected", "client_cancelled"]


class ResponseOwner(Protocol):
    """What a response needs of its session."""

    wire: SessionWire
    options: RealtimeOptions
    config: dict[str, Any]
    has_spoken: bool

    def new_id(self, kind: str) -> str:
        """An id that this server has not used before."""
        ...

    def add_item(self, item: KnownItem) -> None:
        """Put an item at the end, and say so."""
        ...

    def previous_id(self, item: KnownItem) -> str | None:
        """The id of the item before this one."""
        ...

    def status_details(self, details: Mapping[str, Any] | None) -> Any:
        """What `response.done` says about its status."""
        ...

    def ended(self, response: "ServedResponse") -> None:
        """A response is over."""
        ...


class ServedResponse:
    """One response, from `response.created` to `response.done`. Thread: loop."""

    def __init__(self, session: ResponseOwner, params: Mapping[str, Any], turn: TurnToAnswer) -> None:
        self.id = session.new_id("resp")
        self._session = session
        self._wire = session.wire
        self._params = params
        self._turn = turn
        self._reply = session.options.replies(turn)
        self._modalities: list[str] = params.get("output_modalities") or session.config["output_modalities"]
        shape = {"id": session.new_id("item"), "object": "realtime.item", "type": "message", "status": "in_progress", "role": "assistant"}
        self._item = KnownItem({**shape, "content": []})
        self._said = ""
        self._stage: Literal["waiting", "speaking", "over"] = "waiting"
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Send the reply, at the pace of the server."""
        self._task = asyncio.current_task()
        self._wire.emit("response.created", response=self._shape("in_progress"))
        options, clock = self._session.options, self._wire.clock
        if options.first_audio_ms:
            await clock.sleep_until(clock.now() + options.first_audio_ms / 1000)
        code = self._wire.fault.reply_code
        if code:
            error = {"type": error_type(code), "code": code, "message": error_message(code)}
            self._finish("failed", {"type": "failed", "error": error})
            return
        self._begin()
        started = clock.now()
        sent = 0
        for pcm, text in self._pieces():
            await clock.sleep_until(started + MODEL.duration_ms(sent) / 1000 / options.times_real_time)
            self._say(pcm, text)
            sent += len(pcm)
        self._finish("completed", {"type": "completed"})

    def cancel(self, reason: CancelReason) -> None:
        """End it now, where it is."""
        if self._stage == "over":
            return
        self._finish("cancelled", {"type": "cancelled", "reason": reason})
        if self._task is not None:
            self._task.cancel()

    @property
    def _speaks(self) -> bool:
        return "audio" in self._modalities

    def _place(self) -> dict[str, Any]:
        return {"response_id": self.id, "item_id": self._item.id, "output_index": 0, "content_index": 0}

    def _begin(self) -> None:
        self._stage = "speaking"
        where = {"response_id": self.id, "output_index": 0}
        self._wire.emit("response.output_item.added", **where, item=self._item.shape)
        self._session.add_item(self._item)
        part = {"type": "audio", "transcript": ""} if self._speaks else {"type": "text", "text": ""}
        self._wire.emit("response.content_part.added", **self._place(), part=part)
        self._item.shape = {**self._item.shape, "content": [self._content("")]}

    def _content(self, text: str) -> dict[str, Any]:
        return {"type": "output_audio", "transcript": text} if self._speaks else {"type": "output_text", "text": text}

    def _pieces(self) -> Iterator[tuple[bytes, str]]:
        """Sound and the words that belong to it; without sound, word by word."""
        words = tokens(self._reply.text) if self._reply.text else []
        if not self._speaks:
            yield from ((b"", word) for word in words)
            return
        size = MODEL.bytes_of_ms(DELTA_MS)
        starts = range(0, max(1, len(self._reply.pcm)), size)
        for count, start in enumerate(starts):
            first, last = (round(len(words) * number / len(starts)) for number in (count, count + 1))
            yield self._reply.pcm[start : start + size], "".join(words[first:last])

    def _say(self, pcm: bytes, text: str) -> None:
        self._said += text
        self._item.shape["content"] = [self._content(self._said)]
        if not self._speaks:
            self._wire.emit("response.output_text.delta", **self._place(), delta=text)
            return
        if pcm:
            self._session.has_spoken = True
            self._item.pcm += pcm
            self._wire.emit_audio("response.output_audio.delta", pcm, **self._place())
        if text:
            self._wire.emit("response.output_audio_transcript.delta", **self._place(), delta=text)

    def _finish(self, status: str, details: Mapping[str, Any]) -> None:
        if self._stage == "speaking":
            self._close_item("completed" if status == "completed" else "incomplete")
        self._stage = "over"
        self._session.ended(self)
        self._wire.emit("response.done", response=self._shape(status, details))
        limits = [{"name": "tokens", "limit": 40_000, "remaining": 39_000, "reset_seconds": 1.5}]
        self._wire.emit("rate_limits.updated", rate_limits=limits)

    def _close_item(self, status: str) -> None:
        place = self._place()
        if self._speaks:
            self._wire.emit("response.output_audio.done", **place)
            self._wire.emit("response.output_audio_transcript.done", **place, transcript=self._said)
            part = {"type": "audio", "transcript": self._said}
        else:
            self._wire.emit("response.output_text.done", **place, text=self._said)
            part = {"type": "text", "text": self._said}
        self._wire.emit("response.content_part.done", **place, part=part)
        self._item.shape["status"] = status
        self._wire.emit("conversation.item.done", previous_item_id=self._session.previous_id(self._item), item=self._item.shape)
        self._wire.emit("response.output_item.done", response_id=self.id, output_index=0, item=self._item.shape)

    def _shape(self, status: str, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
        config = self._session.config
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": self._session.status_details(details),
            "output": [self._item.shape] if self._stage == "over" and self._item.shape["content"] else [],
            "conversation_id": f"conv_{self._wire.number}",
            "output_modalities": self._modalities,
            "max_output_tokens": config["max_output_tokens"],
            "audio": {"output": {"format": config["audio"]["output"]["format"], "voice": self._turn.voice}},
            "usage": self._usage() if details else None,
            "metadata": self._params.get("metadata"),
        }

    def _usage(self) -> dict[str, Any]:
        """A token for each 100 ms of the person's sound, one for each 50 ms of the model's, and about one for each four letters."""
        heard = sum(item.duration_ms // 100 for item in self._turn.items if item.role == "user")
        read = (len(self._turn.instructions) + sum(len(item.text) for item in self._turn.items)) // 4
        spoken, written = self._item.duration_ms // 50, len(self._said) // 4
        return {
            "total_tokens": heard + read + spoken + written,
            "input_tokens": heard + read,
            "output_tokens": spoken + written,
            "input_token_details": {"text_tokens": read, "audio_tokens": heard, "image_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"text_tokens": written, "audio_tokens": spoken},
        }
