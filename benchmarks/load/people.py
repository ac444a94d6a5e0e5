"""LightPerson: somebody in a voice channel without any socket, whose sound the relay plays. Control messages are calls of functions.

With end-to-end encryption a person is a member of the call's group, through Discord's own libdave, and encrypts each packet.
"""

import asyncio
import functools
import json
from typing import Any

from benchmarks.load.relay import Encrypt
from benchmarks.resources import endless
from discordplex.audio.format import DISCORD, ENGINE
from discordplex.audio.opus import OpusEncoder
from discordplex.loopback.discord.person.media import BITRATE
from discordplex.loopback.discord.person.person import SPEAKING
from discordplex.loopback.discord.voice.call import Participant
from discordplex.loopback.discord.voice.dave.delivery import Delivery
from discordplex.loopback.discord.voice.dave.libdave_member import LibdaveMember
from discordplex.loopback.discord.voice.messages import BINARY_HEAD, Opcode
from discordplex.loopback.discord.voice.sessions import VoiceSessions
from discordplex.loopback.discord.world.model import Channel, User
from discordplex.voice.rtp.encryption import MODES

SPEECH_S = 10.0


@functools.cache
def packets() -> tuple[bytes, ...]:
    """What everybody says, as Opus packets of 20 ms of a client's kind: two channels, 64 kbit/s."""
    encoder = OpusEncoder(channels=DISCORD.channels, bitrate=BITRATE)
    mono = endless(SPEECH_S)
    frames = (mono[start : start + ENGINE.frame_bytes] for start in range(0, len(mono), ENGINE.frame_bytes))
    return tuple(encoder.encode(doubled(frame)) for frame in frames)


def doubled(frame: bytes) -> bytes:
    """Mono int16 as two equal channels."""
    return b"".join(frame[start : start + 2] * 2 for start in range(0, len(frame), 2))


def in_the_clear(ssrc: int, opus: bytes) -> bytes:
    """No end-to-end encryption."""
    del ssrc
    return opus


class LightPerson:
    """One person in one channel, from `enter` to `leave`. Thread: the server's loop."""

    def __init__(self, sessions: VoiceSessions, user: User, channel: Channel, *, e2ee: bool) -> None:
        self.user = user
        self.channel = channel
        self._sessions = sessions
        self._member = LibdaveMember(user.id) if e2ee else None
        self._participant: Participant | None = None

    @property
    def ssrc(self) -> int:
        """Their stream. Raises RuntimeError before `enter`."""
        return self._present.ssrc

    @property
    def encrypt(self) -> Encrypt:
        """How their packets are encrypted end to end. Thread: media."""
        return self._member.encrypt if self._member else in_the_clear

    def enter(self) -> None:
        """Enter the channel and the call in it. Raises RuntimeError where Discord would not allow it."""
        grant = self._sessions.world.voice_join(self.user.id, self.channel.guild_id, self.channel.id)
        if grant is None:
            raise RuntimeError(f"{self.user.name} may not enter {self.channel.name}")
        member = self._member
        self._participant = participant = self._sessions.begin(grant, dave_version=member.max_version if member else 0)
        self._sessions.secure(participant, MODES[0])
        delivery = self._sessions.delivery(self.channel.id)
        if member and delivery:
            participant.connection = MemberConnection(member, participant, delivery)
            member.begin(self.channel.id, delivery.version_for(participant))
        self._sessions.enter(participant)

    def announce(self) -> None:
        """Tell the others whose stream it is, as a client does whenever its speech begins."""
        self._sessions.call(self.channel.id).announce_speaking(self._present, SPEAKING)

    def leave(self) -> None:
        """Leave the channel; idempotent."""
        self._sessions.world.voice_leave(self.user.id, self.channel.guild_id)

    @property
    def _present(self) -> Participant:
        if self._participant is None:
            raise RuntimeError(f"{self.user.name} has not entered")
        return self._participant


class MemberConnection:
    """Passes the server's messages to a member of the group, and the answers back, each in a turn of the loop of its own."""

    def __init__(self, member: LibdaveMember, participant: Participant, delivery: Delivery) -> None:
        self.delay_s = 0.0
        self._member = member
        self._participant = participant
        self._delivery = delivery
        self._loop = asyncio.get_running_loop()

    # Messages of the server

    def post(self, message: str | bytes) -> None:
        """A message to the member."""
        self._loop.call_soon(self._take, message)

    def close(self, code: int) -> None:
        """Nothing is open."""

    def reset(self) -> None:
        """Nothing is open."""

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, str):
            parsed = json.loads(message)
            self._member.take_text(parsed["op"], parsed["d"], self)
        else:
            _, op = BINARY_HEAD.unpack_from(message)
            self._member.take_binary(op, message[BINARY_HEAD.size :], self)

    # Answers of the member

    def send(self, op: Opcode, data: Any) -> None:
        """A JSON answer."""
        take = {Opcode.TRANSITION_READY: self._delivery.take_ready, Opcode.INVALID_COMMIT_WELCOME: self._delivery.take_invalid}[op]
        self._loop.call_soon(take, self._participant, data)

    def send_binary(self, op: Opcode, payload: bytes) -> None:
        """A binary answer."""
        take = {Opcode.KEY_PACKAGE: self._delivery.take_key_package, Opcode.COMMIT_WELCOME: self._delivery.take_commit}[op]
        self._loop.call_soon(take, self._participant, payload)
