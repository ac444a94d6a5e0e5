"""The voice gateway's client, version 8: messages in, events and messages out. No socket, no clock, no thread.

Contract: `connected` when a WebSocket has opened, `receive` for each message on it, `lost` when it has closed; after each call send what
`messages_to_send` gives, in order. One object is one voice session: it outlives its WebSockets and ends with the session.
"""

import enum
from collections import deque
from dataclasses import dataclass, field

from discordplex.errors import LocalProtocolError, RemoteProtocolError
from discordplex.voice.gateway import messages
from discordplex.voice.gateway.events import (
    E2eeCommand,
    GatewayReady,
    GatewayResumed,
    HeartbeatAcked,
    Hello,
    SendCommitWelcome,
    SendKeyPackage,
    SendReadyForTransition,
    SessionDescription,
    VoiceEvent,
)
from discordplex.voice.gateway.messages import Op

VERSION = 8
"""Buffered resume and the binary messages of end-to-end encryption came with it."""


class GatewayPhase(enum.Enum):
    """Where a session stands. The only table of moves is `NEXT`."""

    OFFLINE = enum.auto()
    GREETING = enum.auto()
    """A WebSocket is open, hello is awaited."""
    IDENTIFYING = enum.auto()
    SELECTING = enum.auto()
    """Our SSRC is known; the address and then the key are agreed."""
    LIVE = enum.auto()
    ASLEEP = enum.auto()
    """The WebSocket of a live session is lost; the next one resumes."""
    WAKING = enum.auto()
    RESUMING = enum.auto()


NEXT: dict[tuple[GatewayPhase, str], GatewayPhase] = {
    (GatewayPhase.OFFLINE, "connected"): GatewayPhase.GREETING,
    (GatewayPhase.GREETING, "Hello"): GatewayPhase.IDENTIFYING,
    (GatewayPhase.IDENTIFYING, "GatewayReady"): GatewayPhase.SELECTING,
    (GatewayPhase.SELECTING, "SessionDescription"): GatewayPhase.LIVE,
    (GatewayPhase.LIVE, "SessionDescription"): GatewayPhase.LIVE,
    (GatewayPhase.GREETING, "lost"): GatewayPhase.OFFLINE,
    (GatewayPhase.IDENTIFYING, "lost"): GatewayPhase.OFFLINE,
    (GatewayPhase.SELECTING, "lost"): GatewayPhase.OFFLINE,
    (GatewayPhase.LIVE, "lost"): GatewayPhase.ASLEEP,
    (GatewayPhase.ASLEEP, "connected"): GatewayPhase.WAKING,
    (GatewayPhase.WAKING, "Hello"): GatewayPhase.RESUMING,
    (GatewayPhase.RESUMING, "GatewayResumed"): GatewayPhase.LIVE,
    (GatewayPhase.WAKING, "lost"): GatewayPhase.ASLEEP,
    (GatewayPhase.RESUMING, "lost"): GatewayPhase.ASLEEP,
}
"""The law: a cause that is not here is refused in that phase. Causes are our calls and the names of the server's events."""

STEERING = (Hello, GatewayReady, SessionDescription, GatewayResumed)
"""The events that move the phase; all others may come whenever the server likes, replayed before Resumed too."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What Discord hands out for one voice session."""

    server_id: int
    user_id: int
    session_id: str = field(repr=False)
    token: str = field(repr=False)


MAX_UNSENT = 256
"""Messages of ours that wait for the server to read, or for the session to be live; the oldest make room."""


class VoiceGateway:
    """One voice session's state, without IO. Not thread-safe: the loop owns it."""

    def __init__(self, credentials: Credentials, *, max_dave_protocol_version: int) -> None:
        self.phase = GatewayPhase.OFFLINE
        self.seq_ack = -1
        self._credentials = credentials
        self._max_dave_protocol_version = max_dave_protocol_version
        self._outgoing: deque[str | bytes] = deque(maxlen=MAX_UNSENT)
        self._commands: deque[str | bytes] = deque(maxlen=MAX_UNSENT)
        self._unanswered: int | None = None

    def connected(self) -> None:
        """A WebSocket has opened; the server speaks first."""
        self._unanswered = None
        self._move("connected")

    def lost(self) -> None:
        """The WebSocket has closed. What was not sent yet is forgotten, except what the encrypted group needs after a resume."""
        if self.phase not in (GatewayPhase.OFFLINE, GatewayPhase.ASLEEP):
            self._move("lost")
        self._outgoing.clear()
        if self.phase is GatewayPhase.OFFLINE:
            self._commands.clear()

    def receive(self, message: str | bytes) -> VoiceEvent | None:
        """Read one message; None for one that needs no attention. Raises RemoteProtocolError for what breaks the protocol or the phase."""
        incoming = messages.parse(message)
        event = incoming.event
        if isinstance(event, STEERING):
            self._move(type(event).__name__)
        if incoming.seq is not None:
            self.seq_ack = incoming.seq
        if isinstance(event, Hello):
            self._say_who()
        elif isinstance(event, HeartbeatAcked) and event.nonce == self._unanswered:
            self._unanswered = None
        return event

    def messages_to_send(self) -> list[str | bytes]:
        """What the server is to be sent now, in order; each message is given once."""
        ready = list(self._outgoing)
        self._outgoing.clear()
        if self.phase is GatewayPhase.LIVE:
            ready += self._commands
            self._commands.clear()
        return ready

    def select_protocol(self, *, address: str, port: int, mode: str) -> None:
        """Say where our datagrams come from, as IP discovery found, and how they are encrypted."""
        if self.phase is not GatewayPhase.SELECTING:
            raise LocalProtocolError(f"a protocol cannot be selected while {self.phase.name}")
        data = {"address": address, "port": port, "mode": mode}
        self._say(Op.SELECT_PROTOCOL, {"protocol": "udp", "data": data})

    def heartbeat(self, nonce: int) -> bool:
        """Send a heartbeat, due every `Hello.heartbeat_interval_s`. False: the last one was never answered, the connection is dead."""
        if self._unanswered is not None:
            return False
        self._unanswered = nonce
        self._say(Op.HEARTBEAT, {"t": nonce, "seq_ack": self.seq_ack})
        return True

    def speaking(self, *, speaking: bool, ssrc: int) -> None:
        """Say that our audio starts or stops. Discord wants it once before the first packet of a session."""
        if self.phase is GatewayPhase.LIVE:
            self._say(Op.SPEAKING, {"speaking": int(speaking), "delay": 0, "ssrc": ssrc})

    def command(self, command: E2eeCommand) -> None:
        """Send what the encrypted group has to say, as soon as the session is live: what a resume replays is answered after it."""
        self._commands.append(_write_command(command))

    def _say(self, op: Op, data: object) -> None:
        self._outgoing.append(messages.text(op, data))

    def _say_who(self) -> None:
        who = self._credentials
        data: dict[str, object] = {"server_id": str(who.server_id), "session_id": who.session_id, "token": who.token}
        if self.phase is GatewayPhase.RESUMING:
            self._say(Op.RESUME, data | {"seq_ack": self.seq_ack})
        else:
            version = {"max_dave_protocol_version": self._max_dave_protocol_version}
            self._say(Op.IDENTIFY, data | {"user_id": str(who.user_id)} | version)

    def _move(self, cause: str) -> None:
        phase = NEXT.get((self.phase, cause))
        if phase is None:
            fault = LocalProtocolError if cause in ("connected", "lost") else RemoteProtocolError
            raise fault(f"{cause} is not possible while {self.phase.name}")
        self.phase = phase


def _write_command(command: E2eeCommand) -> str | bytes:
    if isinstance(command, SendKeyPackage):
        return messages.binary(Op.MLS_KEY_PACKAGE, command.package)
    if isinstance(command, SendCommitWelcome):
        return messages.binary(Op.MLS_COMMIT_WELCOME, command.payload)
    if isinstance(command, SendReadyForTransition):
        return messages.text(Op.DAVE_READY_FOR_TRANSITION, {"transition_id": command.transition_id})
    return messages.text(Op.MLS_INVALID_COMMIT_WELCOME, {"transition_id": command.transition_id})
