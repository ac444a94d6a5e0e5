"""VoiceSessions: the voice sessions, their calls and keys, and their ends."""

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from discordplex.loopback.discord.voice.call import ControlMessage, Participant, VoiceChannelCall
from discordplex.loopback.discord.voice.dave.delivery import Delivery
from discordplex.loopback.discord.voice.messages import Close
from discordplex.loopback.discord.voice.relay_peer import Address
from discordplex.loopback.discord.world.model import STAGE, VoiceEnd, VoiceSessionGrant
from discordplex.loopback.discord.world.world import World
from discordplex.voice.rtp.encryption import KEY_BYTES, Transport

RESUME_WINDOW_S = 30.0
"""How long a session waits for its client to come back. Assumed: Discord does not document it."""

LOG_MESSAGES = 20_000

CODE_OF_END: Mapping[VoiceEnd, Close] = MappingProxyType(
    {"left": Close.DISCONNECTED, "moved": Close.DISCONNECTED, "kicked": Close.DISCONNECTED, "server": Close.CALL_TERMINATED}
)
"""Documented: 4014 for one client that was disconnected, 4022 for a call whose voice server changed. 4014 on a move is assumed."""


class MediaRelay(Protocol):
    """Carries the datagrams of sessions; `relay.Relay` implements it."""

    @property
    def address(self) -> Address:
        """Where clients send to."""
        ...

    def join(self, *, user_id: str, room: str, ssrc: int) -> None:
        """Expect this SSRC."""
        ...

    def secure(self, ssrc: int, transport: Transport) -> None:
        """Give a participant its key and mode."""
        ...

    def leave(self, ssrc: int) -> None:
        """Remove a participant; idempotent."""
        ...


class VoiceSessions:
    """The voice sessions of a world. Thread: the server's loop; only the relay has a thread of its own."""

    def __init__(self, world: World, relay: MediaRelay, *, dave: bool) -> None:
        """`dave`: whether calls are encrypted end to end."""
        self.world = world
        self.relay = relay
        self.log: deque[ControlMessage] = deque(maxlen=LOG_MESSAGES)
        """The newest messages on all control channels, in order."""
        self._dave = dave
        self._calls: dict[str, VoiceChannelCall] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._by_token: dict[str, Participant] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._next_ssrc = 1000

    def call(self, channel_id: str) -> VoiceChannelCall:
        """The call in a channel; empty where nobody has connected to it."""
        return self._calls.setdefault(channel_id, VoiceChannelCall(channel_id))

    def may_encrypt(self, channel_id: str) -> bool:
        """Whether calls in a channel can be encrypted end to end: those on stages never are (documented)."""
        channel = self.world.channel(channel_id)
        return channel is None or channel.kind != STAGE

    def delivery(self, channel_id: str) -> Delivery | None:
        """The DAVE delivery service of the call in a channel; None where calls are not encrypted."""
        if self._dave and self.may_encrypt(channel_id) and channel_id not in self._deliveries:
            self._deliveries[channel_id] = Delivery(self.call(channel_id), self.world.note)
        return self._deliveries.get(channel_id)

    def of_user(self, user_id: str) -> Participant | None:
        """The newest session of a user that is still alive."""
        mine = [found for found in self._by_token.values() if found.user_id == user_id]
        return mine[-1] if mine else None

    def named_by(self, *, server_id: str, session_id: str, token: str) -> Participant | None:
        """The session that a resume names, None where any of the three values is wrong."""
        found = self._by_token.get(token)
        if found and (found.session.guild_id, found.session.session_id) == (server_id, session_id):
            return found
        return None

    def may_begin(self, session: VoiceSessionGrant) -> bool:
        """Whether this session's token is still valid."""
        return session.token not in self.world.revoked_tokens

    def begin(self, session: VoiceSessionGrant, *, dave_version: int) -> Participant:
        """Create the session that an identify asked for; a session that it replaces is ended with 4006."""
        current = self._by_token.get(session.token)
        if current is not None:
            self.end(current, Close.SESSION_INVALID)
        self._next_ssrc += 2  # the number after it is for its video
        participant = Participant(session, self._next_ssrc, dave_version, self._record)
        self._by_token[session.token] = participant
        self.relay.join(user_id=session.user_id, room=session.channel_id, ssrc=participant.ssrc)
        return participant

    def secure(self, participant: Participant, mode: str) -> bytes:
        """Set a session's mode and a new key, which is returned."""
        key = secrets.token_bytes(KEY_BYTES)
        participant.mode = mode
        self.relay.secure(participant.ssrc, Transport.for_mode(mode, key))
        return key

    def enter(self, participant: Participant) -> None:
        """Add a session that can hear and speak to its call; idempotent."""
        call = self.call(participant.session.channel_id)
        if participant not in call:
            call.enter(participant)
            delivery = self.delivery(call.channel_id)
            if delivery is not None:
                delivery.enter(participant)
            self.world.note(f"voice entered {participant.user_id}")

    def detach(self, participant: Participant) -> None:
        """The connection is lost without a close: keep everything for as long as the client may come back."""
        participant.connection = None
        loop = asyncio.get_running_loop()
        self._timers[participant.session.token] = loop.call_later(RESUME_WINDOW_S, self.end, participant, Close.SESSION_TIMEOUT)
        self.world.note(f"voice lost {participant.user_id}")

    def attach(self, participant: Participant) -> None:
        """The client is back."""
        timer = self._timers.pop(participant.session.token, None)
        if timer is not None:
            timer.cancel()

    def revoke(self, participant: Participant, code: int) -> None:
        """End a session: its token opens no other one."""
        self.world.revoked_tokens.add(participant.session.token)
        self.end(participant, code)

    def end_of(self, session: VoiceSessionGrant, cause: VoiceEnd) -> None:
        """End the voice session of a grant that the world has ended; does nothing where there is none."""
        participant = self._by_token.get(session.token)
        if participant is not None:
            self.end(participant, CODE_OF_END[cause])

    def end(self, participant: Participant, code: int) -> None:
        """Remove a session from its call and from the relay, and close its connection with `code`; idempotent."""
        if self._by_token.get(participant.session.token) is not participant:
            return
        del self._by_token[participant.session.token]
        self.attach(participant)
        connection, participant.connection = participant.connection, None
        if connection is not None:
            connection.close(code)
        self.relay.leave(participant.ssrc)
        self._leave_call(participant)
        self.world.note(f"voice left {participant.user_id}")

    def _leave_call(self, participant: Participant) -> None:
        call = self.call(participant.session.channel_id)
        if participant not in call:
            return
        call.leave(participant)
        delivery = self.delivery(call.channel_id)
        if delivery is not None:
            delivery.leave(participant)

    def close(self) -> None:
        """Drop every session silently; idempotent."""
        for delivery in self._deliveries.values():
            delivery.close()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def heard(self, participant: Participant, op: int, data: Any) -> None:
        """Log a client's message."""
        self.log.append(ControlMessage(self.world.clock.now(), participant.user_id, incoming=True, op=op, data=data))

    def _record(self, participant: Participant, op: int, data: Any) -> None:
        self.log.append(ControlMessage(self.world.clock.now(), participant.user_id, incoming=False, op=op, data=data))
