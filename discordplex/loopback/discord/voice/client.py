"""VoiceClient: the messages of one voice client, and the server's answers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from discordplex.errors import RemoteProtocolError
from discordplex.loopback.discord.voice.call import Participant
from discordplex.loopback.discord.voice.connection import VoiceWebSocket
from discordplex.loopback.discord.voice.dave.delivery import Delivery
from discordplex.loopback.discord.voice.messages import Close, Opcode, parse_binary, parse_text
from discordplex.loopback.discord.voice.sessions import VoiceSessions


class Refusal(Exception):  # noqa: N818  # it is an answer, not an error
    """A client's message that makes the server close its connection with a code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class ServerRules:
    """What the server demands of its clients, and its scripted faults; shared by all connections."""

    modes: tuple[str, ...]
    require_dave: bool
    control_delays_s: dict[str, float] = field(default_factory=dict)
    speaking_delays_s: dict[str, float | None] = field(default_factory=dict)
    refusals: dict[str, list[int]] = field(default_factory=dict)


class VoiceClient:
    """The protocol state of one connection. `participant` is None until an identify or a resume succeeded."""

    def __init__(self, connection: VoiceWebSocket, sessions: VoiceSessions, rules: ServerRules) -> None:
        self.participant: Participant | None = None
        self._connection = connection
        self._sessions = sessions
        self._rules = rules
        self._answers: dict[int, Callable[[Participant, Any], None]] = {
            Opcode.SELECT_PROTOCOL: self._select_protocol,
            Opcode.SPEAKING: self._speaking,
            Opcode.VIDEO: self._ignore,
            Opcode.TRANSITION_READY: lambda who, data: self._delivery(who).take_ready(who, data),
            Opcode.KEY_PACKAGE: lambda who, payload: self._delivery(who).take_key_package(who, payload),
            Opcode.COMMIT_WELCOME: lambda who, payload: self._delivery(who).take_commit(who, payload),
            Opcode.INVALID_COMMIT_WELCOME: lambda who, data: self._delivery(who).take_invalid(who, data),
        }

    def receive(self, message: str | bytes) -> None:
        """Handle one message of the client. Raises Refusal where Discord would close the connection."""
        try:
            op, data = parse_text(message) if isinstance(message, str) else parse_binary(message)
            self._answer(op, data)
        except (RemoteProtocolError, KeyError, TypeError, ValueError, AttributeError) as fault:
            raise Refusal(Close.UNDECODABLE) from fault

    def _answer(self, op: int, data: Any) -> None:
        if op == Opcode.HEARTBEAT:  # also before an identify (documented)
            self._heartbeat(data)
        elif op in (Opcode.IDENTIFY, Opcode.RESUME):
            if self.participant is not None:
                raise Refusal(Close.ALREADY_AUTHENTICATED)
            (self._identify if op == Opcode.IDENTIFY else self._resume)(data)
        elif self.participant is None:
            raise Refusal(Close.NOT_AUTHENTICATED)
        elif op not in self._answers:
            raise Refusal(Close.UNKNOWN_OPCODE)
        else:
            self._sessions.heard(self.participant, op, data)
            self._answers[op](self.participant, data)

    def _heartbeat(self, data: Any) -> None:
        participant = self.participant
        if participant is None:
            return
        self._sessions.heard(participant, Opcode.HEARTBEAT, data)
        participant.heartbeat_acks.append(int(data.get("seq_ack", -1)))
        participant.tell(Opcode.HEARTBEAT_ACK, {"t": data["t"]})

    def _identify(self, data: Any) -> None:
        self._refuse_by_script(data["user_id"])
        session = self._sessions.world.find_voice_session(
            server_id=data["server_id"], user_id=data["user_id"], session_id=data["session_id"], token=data["token"]
        )
        if session is None:
            raise Refusal(Close.AUTHENTICATION_FAILED)
        if not self._sessions.may_begin(session):
            raise Refusal(Close.SESSION_INVALID)
        dave_version = int(data.get("max_dave_protocol_version") or 0)
        if self._rules.require_dave and dave_version == 0 and self._sessions.may_encrypt(session.channel_id):
            raise Refusal(Close.DAVE_REQUIRED)
        participant = self._sessions.begin(session, dave_version=dave_version)
        self._adopt(participant)
        self._sessions.heard(participant, Opcode.IDENTIFY, data)
        host, port = self._sessions.relay.address
        ready = {"ssrc": participant.ssrc, "ip": host, "port": port, "modes": list(self._rules.modes), "heartbeat_interval": 1}
        participant.tell(Opcode.READY, ready)  # the interval in here has to be ignored (documented)

    def _resume(self, data: Any) -> None:
        named = {key: data[key] for key in ("server_id", "session_id", "token")}
        participant = self._sessions.named_by(**named)
        if participant is None:
            raise Refusal(Close.SESSION_INVALID)
        self._refuse_by_script(participant.user_id)
        missed = participant.missed(int(data.get("seq_ack", -1)))
        if missed is None:
            raise Refusal(Close.SESSION_INVALID)
        self._sessions.attach(participant)
        self._adopt(participant)
        self._sessions.heard(participant, Opcode.RESUME, data)
        participant.tell(Opcode.RESUMED, None)
        for message in missed:
            self._connection.post(message)
        self._sessions.world.note(f"voice resumed {participant.user_id}")

    def _adopt(self, participant: Participant) -> None:
        """Make this the session's connection; an older one that is still open is closed."""
        older = participant.connection
        self.participant = participant
        participant.connection = self._connection
        participant.connections += 1
        self._connection.delay_s = self._rules.control_delays_s.get(participant.user_id, 0.0)
        if older is not None:
            older.close(Close.SESSION_INVALID)

    def _refuse_by_script(self, user_id: str) -> None:
        codes = self._rules.refusals.get(user_id)
        if codes:
            raise Refusal(codes.pop(0))

    def _select_protocol(self, participant: Participant, data: Any) -> None:
        if data["protocol"] != "udp":
            raise Refusal(Close.UNKNOWN_PROTOCOL)
        mode = data["data"]["mode"]
        if mode not in self._rules.modes:
            raise Refusal(Close.UNKNOWN_MODE)
        key = self._sessions.secure(participant, mode)
        delivery = self._sessions.delivery(participant.session.channel_id)
        description = {
            "mode": mode,
            "secret_key": list(key),
            "audio_codec": "opus",
            "video_codec": "H264",
            "media_session_id": participant.session.session_id,
            "dave_protocol_version": delivery.version_for(participant) if delivery else 0,
        }
        participant.send(Opcode.SESSION_DESCRIPTION, description)
        self._sessions.enter(participant)

    def _speaking(self, participant: Participant, data: Any) -> None:
        """Tell the others who has an SSRC. That somebody stopped is not passed on (assumed: it is not reliably seen on Discord)."""
        flags = int(data["speaking"])
        delay_s = self._rules.speaking_delays_s.get(participant.user_id, 0.0)
        if flags == 0 or delay_s is None:
            return
        participant.announced = True
        call = self._sessions.call(participant.session.channel_id)
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, call.announce_speaking, participant, flags)
        else:
            call.announce_speaking(participant, flags)

    def _delivery(self, participant: Participant) -> Delivery:
        found = self._sessions.delivery(participant.session.channel_id)
        if found is None:
            raise Refusal(Close.UNKNOWN_OPCODE)
        return found

    def _ignore(self, participant: Participant, data: Any) -> None:
        """Ignore messages that an audio call does not need, such as video."""
