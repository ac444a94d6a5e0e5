"""Connection: one conversation with a PersonaPlex server as a state machine: messages in, events and messages out. Pure.

The table `NEXT` holds all transitions; any other raises LocalProtocolError. `client.py` reports what happened to the socket and passes on
what it received, then takes the events. The bytes to send come from `audio_message`.

```
CONNECTING --upgraded--> PROMPTING --handshake--> LIVE
     |                       |                     |
   failed                lost, late           lost, stalled
     '-----------------------+---------------------'--------> CLOSED
```
"""

import enum
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from discordplex.engine import PersonaIgnored
from discordplex.errors import LocalProtocolError, RemoteProtocolError
from discordplex.personaplex import endings, protocol
from discordplex.personaplex.endings import Ending


class ConversationPhase(enum.Enum):
    """The phases of a conversation."""

    CONNECTING = "connecting"
    PROMPTING = "prompting"
    """Connected; the server loads voice and role, or is busy. It discards whatever we send, including the first page of our stream."""
    LIVE = "live"
    CLOSED = "closed"


NEXT = {
    (ConversationPhase.CONNECTING, "upgraded"): ConversationPhase.PROMPTING,
    (ConversationPhase.CONNECTING, "failed"): ConversationPhase.CLOSED,
    (ConversationPhase.CONNECTING, "leave"): ConversationPhase.CLOSED,
    (ConversationPhase.PROMPTING, "handshake"): ConversationPhase.LIVE,
    (ConversationPhase.PROMPTING, "lost"): ConversationPhase.CLOSED,
    (ConversationPhase.PROMPTING, "late"): ConversationPhase.CLOSED,
    (ConversationPhase.PROMPTING, "leave"): ConversationPhase.CLOSED,
    # No server sends a second handshake; it would change nothing.
    (ConversationPhase.LIVE, "handshake"): ConversationPhase.LIVE,
    (ConversationPhase.LIVE, "lost"): ConversationPhase.CLOSED,
    (ConversationPhase.LIVE, "stalled"): ConversationPhase.CLOSED,
    (ConversationPhase.LIVE, "leave"): ConversationPhase.CLOSED,
    # The socket's end is also reported after we gave up or left; the first reason counts.
    (ConversationPhase.CLOSED, "lost"): ConversationPhase.CLOSED,
    (ConversationPhase.CLOSED, "leave"): ConversationPhase.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Opened:
    """The prompts are loaded: begin a new OggOpus stream, and send 20 ms every 20 ms from now on."""


@dataclass(frozen=True, slots=True)
class AudioCame:
    """The next bytes of the engine's OggOpus stream."""

    ogg: bytes


@dataclass(frozen=True, slots=True)
class TextCame:
    """One piece of the engine's text, before `TextJoiner`."""

    piece: str


@dataclass(frozen=True, slots=True)
class Complained:
    """The server reported an error, in its words, and the conversation continues."""

    text: str


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    """The conversation is over; always the last event, and only once."""

    ending: Ending


Content = TypeVar("Content", bytes, str)

Event: TypeAlias = Opened | PersonaIgnored | AudioCame | TextCame | Complained | ConversationEnded
"""`PersonaIgnored` follows `Opened`, at most once: the server is kyutai's, which reads no voice and no role from the query."""


class Connection:
    """The phases of one conversation. `name` is the server's address as it may be shown to people."""

    def __init__(self, name: str) -> None:
        self.phase = ConversationPhase.CONNECTING
        self._name = name
        self._events: list[Event] = []
        self._upgraded_at = 0.0
        self._metadata_came = False

    # What happened to the socket

    def upgraded(self, now: float) -> None:
        """HTTP became a WebSocket at `now` on the caller's clock."""
        self._move("upgraded")
        self._upgraded_at = now

    def failed(self, ending: Ending) -> None:
        """The WebSocket could not be opened."""
        self._end("failed", ending)

    def receive(self, data: bytes | str) -> None:
        """A WebSocket message came. Raises RemoteProtocolError for an invalid one, after which the conversation continues."""
        message = protocol.parse(data)
        if self.phase is ConversationPhase.CLOSED:
            return
        if isinstance(message, protocol.Handshake):
            self._on_handshake(message)
        elif isinstance(message, protocol.AudioBytes):
            self._events.append(AudioCame(self._expected(message.ogg)))
        elif isinstance(message, protocol.TextPiece):
            self._events.append(TextCame(self._expected(message.text)))
        elif isinstance(message, protocol.ErrorText):
            self._events.append(Complained(message.text))
        elif isinstance(message, protocol.Other) and message.kind == protocol.Kind.METADATA:
            self._metadata_came = True

    def _on_handshake(self, message: protocol.Handshake) -> None:
        fresh = self.phase is ConversationPhase.PROMPTING
        self._move("handshake")
        if fresh:
            # NVIDIA's server sends the kind alone and no metadata. Only kyutai's Rust server sends either.
            self._events += [Opened(), PersonaIgnored()] if message.versions or self._metadata_came else [Opened()]

    def lost(self, code: int, now: float) -> None:
        """The socket has closed, with this code (1006: without one), and not because we asked for it."""
        if self.phase is ConversationPhase.PROMPTING:
            self._end("lost", endings.lost_before_ready(self._name, code, now - self._upgraded_at))
        else:
            self._end("lost", endings.lost_live(self._name, code))

    def flooded(self) -> None:
        """We closed the socket because a message exceeded what any server sends."""
        self._end("lost", endings.oversized(self._name))

    def over_budget(self, what: str) -> None:
        """The server sends more `what` than a call can take."""
        if self.phase in (ConversationPhase.PROMPTING, ConversationPhase.LIVE):
            self._end("lost", endings.over_budget(self._name, what))

    # What we decide

    def late(self, waited_s: float) -> None:
        """No handshake came within `waited_s`."""
        self._end("late", endings.handshake_late(self._name, waited_s))

    def stalled(self, waited_s: float) -> None:
        """We sent for `waited_s` and received nothing."""
        self._end("stalled", endings.stalled(self._name, waited_s))

    def trickled(self, share: float, over_s: int) -> None:
        """We sent for `over_s`, and less than `share` of it was answered."""
        self._end("stalled", endings.trickling(self._name, share, over_s))

    def cut(self, ending: Ending) -> None:
        """We end the conversation for this reason."""
        self._end("lost", ending)

    def leave(self) -> None:
        """We leave. A second call does nothing."""
        self._end("leave", endings.left())

    # What comes out

    def audio_message(self, ogg: bytes) -> bytes:
        """The message with these bytes of our stream. Raises LocalProtocolError in any phase but LIVE.

        The server discards whatever is sent before the handshake, including the stream's first page; without that page the first page after
        the handshake ends the conversation.
        """
        if self.phase is not ConversationPhase.LIVE:
            raise LocalProtocolError(f"audio may not be sent while {self.phase.value}")
        return protocol.AUDIO + ogg

    def take_events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def _expected(self, content: Content) -> Content:
        if self.phase is not ConversationPhase.LIVE:
            raise RemoteProtocolError("the server spoke before its handshake")
        return content

    def _end(self, cause: str, ending: Ending) -> None:
        over = self.phase is ConversationPhase.CLOSED
        self._move(cause)
        if not over:
            self._events.append(ConversationEnded(ending))

    def _move(self, cause: str) -> None:
        phase = NEXT.get((self.phase, cause))
        if phase is None:
            raise LocalProtocolError(f"{cause!r} cannot happen while {self.phase.value}")
        self.phase = phase
