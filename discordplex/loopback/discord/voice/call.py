"""VoiceChannelCall: a call on the voice server: its participants, and the messages each gets on a resume."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from discordplex.loopback.discord.voice import messages
from discordplex.loopback.discord.voice.messages import SEQUENCES, Opcode
from discordplex.loopback.discord.world.model import VoiceSessionGrant

OUTBOX_MESSAGES = 1024
"""Numbered messages kept for a resume; a client that missed more has to identify again."""


class ControlConnection(Protocol):
    """Where a participant's messages go; `connection.VoiceWebSocket` implements it."""

    delay_s: float
    """Delay of every message."""

    def post(self, message: str | bytes) -> None:
        """Send a message after all earlier ones."""
        ...

    def close(self, code: int) -> None:
        """Close with a code, after all earlier messages."""
        ...

    def reset(self) -> None:
        """End it without a close."""
        ...


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """One message on a control channel, for tests to inspect."""

    at: float
    user_id: str
    incoming: bool
    op: int
    data: Any
    """The JSON data, or the payload of a binary message."""


@dataclass(slots=True, eq=False)
class Participant:
    """One voice session with its numbered messages; it outlives its connections. Thread: the server's loop."""

    session: VoiceSessionGrant
    ssrc: int
    dave_version: int
    record: "Callable[[Participant, int, Any], None]"
    connection: ControlConnection | None = None
    mode: str | None = None
    announced: bool = False
    """Whether it has sent op 5, without which the owner of its SSRC is unknown."""
    heartbeat_acks: list[int] = field(default_factory=list)
    """The `seq_ack` of each heartbeat."""
    connections: int = 0
    """How many WebSockets this session has had: one, and one more for each resume."""
    _number: int = 0
    _outbox: deque[tuple[int, str | bytes]] = field(default_factory=lambda: deque(maxlen=OUTBOX_MESSAGES))

    @property
    def user_id(self) -> str:
        """Whose session it is."""
        return self.session.user_id

    def tell(self, op: Opcode, data: Any) -> None:
        """Send a message that belongs to this connection only: hello, ready, acks."""
        self.record(self, op, data)
        if self.connection is not None:
            self.connection.post(messages.text(op, data))

    def send(self, op: Opcode, data: Any) -> None:
        """Send a numbered message; where the connection is lost, now or before it arrives, a resume sends it again."""
        self._keep(op, data, messages.text(op, data, self._next_number()))

    def send_binary(self, op: Opcode, payload: bytes) -> None:
        """Send a numbered binary message; see `send`."""
        self._keep(op, payload, messages.binary(op, payload, self._next_number()))

    def missed(self, ack: int) -> list[str | bytes] | None:
        """The numbered messages after the one that a resume acknowledges; None where they are no longer kept."""
        behind = (self._number - ack) % SEQUENCES if ack >= 0 else self._number
        if behind > len(self._outbox):
            return None
        return [message for number, message in self._outbox if number > self._number - behind]

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _keep(self, op: Opcode, data: Any, message: str | bytes) -> None:
        self.record(self, op, data)
        self._outbox.append((self._number, message))
        if self.connection is not None:
            self.connection.post(message)


class VoiceChannelCall:
    """Everybody whose voice session runs in one channel."""

    def __init__(self, channel_id: str) -> None:
        self.channel_id = channel_id
        self._by_user: dict[str, Participant] = {}

    def __iter__(self) -> Iterator[Participant]:
        return iter(list(self._by_user.values()))

    def __len__(self) -> int:
        return len(self._by_user)

    def __contains__(self, participant: Participant) -> bool:
        return self._by_user.get(participant.user_id) is participant

    def others(self, participant: Participant) -> list[Participant]:
        """All participants but one."""
        return [other for other in self if other is not participant]

    def enter(self, participant: Participant) -> None:
        """Add a participant: they learn who is there, and the others learn of them."""
        others = self.others(participant)
        if others:
            participant.send(Opcode.CLIENTS_CONNECT, {"user_ids": [other.user_id for other in others]})
        for other in others:
            other.send(Opcode.CLIENTS_CONNECT, {"user_ids": [participant.user_id]})
        self._by_user[participant.user_id] = participant

    def leave(self, participant: Participant) -> None:
        """Remove a participant, and tell the others; idempotent."""
        if participant not in self:
            return
        del self._by_user[participant.user_id]
        for other in self:
            other.send(Opcode.CLIENT_DISCONNECT, {"user_id": participant.user_id})

    def announce_speaking(self, participant: Participant, flags: int) -> None:
        """Tell the others who has an SSRC."""
        for other in self.others(participant):
            other.send(Opcode.SPEAKING, {"user_id": participant.user_id, "ssrc": participant.ssrc, "speaking": flags})
