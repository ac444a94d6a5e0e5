"""One session with a Realtime server, without IO: its messages in, facts out. Pure.

Unknown messages and fields pass, as the service's own clients let them. What is known is bounded: a text, an identifier, a piece of sound.
"""

import base64
import binascii
import json
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from discordplex.audio.format import SAMPLE_BYTES
from discordplex.errors import RemoteProtocolError
from discordplex.realtime import endings
from discordplex.realtime.dialects import Dialect
from discordplex.realtime.endings import SessionEnding

LONGEST_ID: Final = 200
LARGEST: Final = 1e15
"""Numbers beyond it are nobody's milliseconds or tokens."""
LONGEST_TEXT: Final = 20_000
"""Characters of one message's text that are looked at."""


@dataclass(frozen=True, slots=True)
class Greeted:
    """The server has opened a session, with settings of its own."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The session is as it was asked for."""

    creates_replies: bool
    """The server answers by itself when somebody has finished."""
    expires_at: float | None
    """When the service will end it, in seconds since 1970, where it says so."""


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """The server hears somebody."""

    item: str
    at_ms: float
    """On the clock of the sound that it got."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """They have finished."""

    item: str
    at_ms: float


@dataclass(frozen=True, slots=True)
class Committed:
    """What was said is part of the conversation now."""

    item: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """The server has dropped the sound that was not committed."""


@dataclass(frozen=True, slots=True)
class ReplyBegan:
    """The server answers."""

    response: str


@dataclass(frozen=True, slots=True)
class ReplySound:
    """A piece of the answer: 24 kHz mono int16."""

    item: str
    pcm: bytes
    response: str = ""


@dataclass(frozen=True, slots=True)
class ReplyWords:
    """A piece of the answer as text."""

    item: str
    text: str
    final: bool = False
    response: str = ""


@dataclass(frozen=True, slots=True)
class PersonWords:
    """What somebody said, as text: a piece, or with `final` all of it."""

    item: str
    text: str
    final: bool


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """The answer is complete, cut off, or failed."""

    response: str
    failure: SessionEnding | None
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """The server refuses one message of ours. The session goes on."""

    code: str
    parameter: str
    event: str = ""
    """The `event_id` of the message, where the server names it."""


@dataclass(frozen=True, slots=True)
class Over:
    """The session is over."""

    ending: SessionEnding


Fact: TypeAlias = (
    Greeted
    | Ready
    | SpeechBegan
    | SpeechEnded
    | Committed
    | Cleared
    | ReplyBegan
    | ReplySound
    | ReplyWords
    | PersonWords
    | ReplyEnded
    | MessageRefused
    | Over
)

AUDIO: Final = ("response.output_audio.delta", "session.output_audio.delta")
WORDS: Final = ("response.output_audio_transcript.delta", "response.output_text.delta")
WORDS_DONE: Final = ("response.output_audio_transcript.done", "response.output_text.done")
TRANSCRIPTION: Final = "conversation.item.input_audio_transcription."
BETA_ONLY: Final = frozenset({"modalities", "input_audio_format", "output_audio_format"})
"""Fields of a session that only the beta had."""

OUR_FIELDS: Final = frozenset(
    {
        "audio",
        "audio_end_ms",
        "content_index",
        "create_response",
        "format",
        "input",
        "instructions",
        "interrupt_response",
        "item",
        "item_id",
        "model",
        "output",
        "output_modalities",
        "prefix_padding_ms",
        "rate",
        "response_id",
        "session",
        "silence_duration_ms",
        "transcription",
        "turn_detection",
        "type",
        "voice",
    }
)
"""Fields of the messages that we send."""
PIECE_CHARACTERS: Final = 32 << 10
"""Half a second of sound as base64: decoded and converted at once, in some 0.3 ms. A server may send a whole reply in one message."""
LARGE: Final = 256 << 10
"""Characters that only a message with sound has. Of those, only a piece of a reply is of use: an item that is complete repeats it all."""
LARGEST_SOUND: Final = 8 << 20
"""Characters of a message with a piece of a reply: two minutes of it."""
ENDS: Final = 1000
"""Characters at both ends of a message among which its type is: it has one field that is long."""
MOST_PARTS: Final = 20_000
"""Commas in one message. A message of the protocol has some dozens; a million small objects take a tenth of a second and 100 MB."""


class RealtimeProtocol:
    """The state of one session. Feed it messages; it says what they mean, in order."""

    def __init__(self, dialect: Dialect) -> None:
        self.greeted = self.ready = self.over = False
        self.is_duplex = False
        """The server says what it can do, as vLLM-Omni does."""
        self._dialect = dialect
        self._service = dialect.service
        self._facts: deque[Fact] = deque()
        self._sound, self._decoded, self._place = "", 0, ("", "")
        """The last message's sound as base64, how much of it is decoded, and the item and response that it belongs to."""
        self._half = ("", b"")

    def take_facts(self) -> list[Fact]:
        """What has happened since the last call."""
        facts = list(self._facts)
        self._facts.clear()
        return facts

    @property
    def has_more_sound(self) -> bool:
        """Whether the last message has sound that is not decoded yet."""
        return self._decoded < len(self._sound)

    def receive(self, message: str | bytes) -> None:
        """Take one message, of long sound only the first piece. RemoteProtocolError where it makes no sense."""
        if len(message) > LARGE and not has_reply_sound(message):
            return
        if len(message) > LARGEST_SOUND:
            raise RemoteProtocolError("a message has too much sound")
        parts = message.count(",") if isinstance(message, str) else message.count(b",")
        if parts > MOST_PARTS:
            raise RemoteProtocolError("a message has too many parts")
        try:
            event = json.loads(message, parse_int=float)  # a whole number may have a million digits
        except (ValueError, RecursionError):
            raise RemoteProtocolError("a message is not JSON") from None
        if not isinstance(event, dict):
            raise RemoteProtocolError("a message is not an object")
        # A goodbye of Gemini's shape has a name in place of a type.
        self._take(text_in(event, "type") or ("goAway" if "goAway" in event else ""), event)

    def _take(self, kind: str, event: dict[str, Any]) -> None:
        if kind in AUDIO:
            self._take_sound(event)
        elif kind in WORDS:
            self._tell(ReplyWords(id_in(event, "item_id"), text_in(event, "delta"), response=id_in(event, "response_id")))
        elif kind in WORDS_DONE:
            self._tell(ReplyWords(id_in(event, "item_id"), "", final=True, response=id_in(event, "response_id")))
        elif kind.startswith(TRANSCRIPTION):
            self._take_transcription(kind.removeprefix(TRANSCRIPTION), event)
        elif kind == "session.output_transcript.delta":
            self._tell(ReplyWords("", text_in(event, "delta")))
        elif kind == "session.input_transcript.delta":
            self._tell(PersonWords("", text_in(event, "delta"), final=False))
        else:
            self._take_state(kind, event)

    def _take_sound(self, event: dict[str, Any]) -> None:
        self._sound, self._decoded = coded_sound_in(event), 0
        self._place = id_in(event, "item_id"), id_in(event, "response_id")
        self.decode()

    def decode(self) -> None:
        """Decode the next piece of the last message's sound. RemoteProtocolError where it is none."""
        item, response = self._place
        coded = self._sound[self._decoded : self._decoded + PIECE_CHARACTERS]
        self._decoded += PIECE_CHARACTERS
        try:
            pcm = base64.b64decode(coded, validate=True)
        except (binascii.Error, ValueError):
            self._sound = ""
            raise RemoteProtocolError("a piece of sound is not base64") from None
        # It may end in the middle of a sample; the next piece of its item has the rest.
        if item == self._half[0]:
            pcm = self._half[1] + pcm
        whole = len(pcm) - len(pcm) % SAMPLE_BYTES
        self._half = item, pcm[whole:]
        self._tell(ReplySound(item, pcm[:whole], response))

    def _take_state(self, kind: str, event: dict[str, Any]) -> None:
        match kind:
            case "session.created" | "conversation.created" | "session.started" | "session.updated":
                self._take_session(kind, event)
            case "input_audio_buffer.speech_started":
                self._tell(SpeechBegan(id_in(event, "item_id"), number_in(event, "audio_start_ms")))
            case "input_audio_buffer.speech_stopped":
                self._tell(SpeechEnded(id_in(event, "item_id"), number_in(event, "audio_end_ms")))
            case "input_audio_buffer.committed":
                self._tell(Committed(id_in(event, "item_id")))
            case "input_audio_buffer.cleared":
                self._tell(Cleared())
            case "response.created":
                self._tell(ReplyBegan(id_in(object_in(event, "response"), "id")))
            case "response.done":
                self._take_done(object_in(event, "response"))
            case "error":
                self._take_error(object_in(event, "error") or event)
            case "session.closed" | "session.expired" | "goaway" | "go_away" | "GoAway" | "goAway":
                has_failed = text_in(event, "reason").endswith("failed")
                self._end(endings.failed(self._service, code_in(event, "reason")) if has_failed else endings.expired(self._service))

    def _take_session(self, kind: str, event: dict[str, Any]) -> None:
        session = object_in(event, "session")
        if kind != "session.updated" and not self.greeted:
            self.greeted = True
            self.is_duplex = isinstance(session.get("capabilities"), dict)
            self._tell(Greeted())
        if kind == "session.created" and not self._dialect.full_duplex and BETA_ONLY & session.keys() and "audio" not in session:
            self._end(endings.old_server(self._service))
        elif not self.ready and (
            kind in ("session.updated", "session.started") or (self._dialect.full_duplex and kind == "session.created")
        ):
            self.ready = True
            self._tell(Ready(creates_replies(session), number_in(session, "expires_at") or None))

    def _take_transcription(self, kind: str, event: dict[str, Any]) -> None:
        item = id_in(event, "item_id")
        if kind == "delta":
            self._tell(PersonWords(item, text_in(event, "delta"), final=False))
        elif kind == "completed":
            self._tell(PersonWords(item, text_in(event, "transcript"), final=True))
        elif kind == "failed":
            self._tell(PersonWords(item, "", final=True))

    def _take_done(self, response: dict[str, Any]) -> None:
        details = object_in(response, "status_details")
        code = code_in(object_in(details, "error"), "code") or code_in(object_in(details, "error"), "type")
        failure = None
        if text_in(response, "status") == "failed":
            failure = endings.of_code(self._service, code) or endings.failed(self._service, code)
        usage = object_in(response, "usage")
        tokens = int(number_in(usage, "input_tokens")), int(number_in(usage, "output_tokens"))
        self._tell(ReplyEnded(id_in(response, "id"), failure, *tokens))

    def _take_error(self, error: dict[str, Any]) -> None:
        code, kind = code_in(error, "code"), code_in(error, "type")
        parameter = parameter_in(error, "param")
        ending = endings.of_code(self._service, code) or (endings.of_code(self._service, kind) if not code else None)
        if ending:
            self._end(ending)
        elif "maximum duration" in text_in(error, "message"):
            self._end(endings.expired(self._service))
        elif text_in(error, "message").startswith(endings.OUTGROWN):
            self._end(endings.outgrown(self._service))
        elif code == "unknown_parameter" and parameter == "session.type":
            self._end(endings.old_server(self._service))
        elif not self.ready and parameter.endswith("voice") and code != "unknown_parameter":
            self._end(endings.bad_voice(self._service))
        else:
            self._tell(MessageRefused(code or kind, parameter, id_in(error, "event_id") or id_in(error, "client_event_id")))

    def _end(self, ending: SessionEnding) -> None:
        if not self.over:
            self.over = True
            self._tell(Over(ending))

    def _tell(self, fact: Fact) -> None:
        self._facts.append(fact)


def has_reply_sound(message: str | bytes) -> bool:
    """Whether a large message is a piece of a reply, without a look at all of it."""
    text = message if isinstance(message, str) else message.decode("latin-1")
    return any(f'"{kind}"' in text[:ENDS] or f'"{kind}"' in text[-ENDS:] for kind in AUDIO)


def creates_replies(session: dict[str, Any]) -> bool:
    """Whether the server answers by itself: unless it has confirmed that it does not."""
    hearing = object_in(object_in(session, "audio"), "input")
    if "turn_detection" in hearing and hearing["turn_detection"] is None:
        return False
    return object_in(hearing, "turn_detection").get("create_response") is not False


def coded_sound_in(event: dict[str, Any]) -> str:
    """The sound of a message, as base64."""
    coded = event.get("delta") or event.get("audio") or ""
    if not isinstance(coded, str):
        raise RemoteProtocolError("a piece of sound is not text")
    return coded


def text_in(event: dict[str, Any], name: str) -> str:
    """A text, "" where there is none."""
    value = event.get(name)
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def id_in(event: dict[str, Any], name: str) -> str:
    """An identifier, "" where there is none."""
    return text_in(event, name)[:LONGEST_ID]


def code_in(event: dict[str, Any], name: str) -> str:
    """A code, "" where there is none. It is logged: one that is not known here may be a key or somebody's words."""
    value = text_in(event, name)
    return value if not value or value in endings.KNOWN_CODES else endings.UNKNOWN_CODE


def parameter_in(event: dict[str, Any], name: str) -> str:
    """The path of a field of ours, "" for anything else. It is logged likewise."""
    value = text_in(event, name)
    return value if OUR_FIELDS.issuperset(value.split(".")) and len(value) <= LONGEST_ID else ""


def object_in(event: dict[str, Any], name: str) -> dict[str, Any]:
    """An object, empty where there is none."""
    value = event.get(name)
    return value if isinstance(value, dict) else {}


def number_in(event: dict[str, Any], name: str) -> float:
    """A number that is not negative, 0 where there is none."""
    value = event.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST else 0.0
