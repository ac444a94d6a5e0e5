"""Delivery: the DAVE delivery service of one call. Sends what `ServerGroup` decides, and leads the call through its transitions.

The terms are the protocol's: https://daveprotocol.com, version 1.1. The service has no key: it proposes as MLS external sender, chooses the
first valid commit, and tells everybody when to change keys.
"""

import asyncio
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from discordplex.errors import RemoteProtocolError
from discordplex.loopback.discord.voice.call import Participant, VoiceChannelCall
from discordplex.loopback.discord.voice.dave.group import Accepted, Change, InFlight, ServerGroup
from discordplex.loopback.discord.voice.dave.mls import KeyPackage, MlsExternalSender, read_commit_welcome, vector
from discordplex.loopback.discord.voice.messages import Opcode

PROTOCOL_VERSION = 1

READY_TIMEOUT_S = 2.0
"""A transition is executed after this long even where somebody has not reported ready (documented as a few seconds)."""

APPEND, REVOKE = b"\x00", b"\x01"

TRANSITIONS = 1 << 16


@dataclass(slots=True)
class PendingTransition:
    """A change of keys in progress: executed once nobody is awaited any more."""

    number: int
    everybody: list[Participant]
    awaited: set[str]
    timer: asyncio.TimerHandle


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch that the group has reached."""

    number: int
    members: tuple[str, ...]
    author: str
    """Whose commit it was."""


@dataclass(slots=True)
class DaveFaults:
    """Messages to be damaged before they are sent: (user id, opcode), one entry each."""

    corrupt: list[tuple[str, int]] = field(default_factory=list)


class Delivery:
    """The encryption of one call, on the server. Thread: the server's loop; `call` adds and removes people first."""

    def __init__(self, call: VoiceChannelCall, note: Callable[[str], None], *, first_transition: int = 1) -> None:
        """`note` is called with a text about each change, so that waiting code checks again."""
        self.version = PROTOCOL_VERSION
        """The protocol version in force; 0 while somebody in the call cannot encrypt."""
        self.ready_timeout_s = READY_TIMEOUT_S
        self.faults = DaveFaults()
        self.epochs: list[Epoch] = []
        """Every epoch since the call began."""
        self.rejected: Counter[str] = Counter()
        """Messages of clients that did not count, by reason. Late commits are normal: several clients compete for each epoch."""
        self.invalid: list[tuple[str, int]] = []
        """(user id, transition) of each op 31."""
        self._call = call
        self._note = note
        self._sender = MlsExternalSender()
        self._group = self._new_group()
        self._transitions: dict[int, PendingTransition] = {}
        self._next = first_transition

    @property
    def group(self) -> ServerGroup:
        """The state of the group, for inspection."""
        return self._group

    @property
    def settled(self) -> bool:
        """Whether everybody in the call is in the group and no change is under way."""
        everybody = {participant.user_id for participant in self._call}
        busy = self._group.in_flight or self._group.waiting or self._transitions
        return not busy and set(self._group.members) == everybody

    # Joining and leaving

    def enter(self, participant: Participant) -> None:
        """Somebody has received their session description and has been introduced to the others."""
        if participant.dave_version:
            participant.send_binary(Opcode.EXTERNAL_SENDER, self._sender.package)
        self._agree_on_version()

    def version_for(self, participant: Participant) -> int:
        """What the session description of a newcomer says."""
        return min(self.version, participant.dave_version)

    def leave(self, participant: Participant) -> None:
        """Somebody is gone, and the others know."""
        for transition in list(self._transitions.values()):
            transition.everybody = [other for other in transition.everybody if other is not participant]
            self._ready(transition, participant.user_id)
        remaining = list(self._call)
        if len(remaining) == 1 and self._group.founded:
            self._restart(remaining)
            self._execute_at_once(remaining)
        else:
            self._tell(self._group.depart(participant.user_id))
        self._agree_on_version()

    # Messages of clients

    def take_key_package(self, participant: Participant, payload: bytes) -> None:
        """Opcode 26."""
        if not self.version:
            self.rejected["a key package came while nothing is encrypted"] += 1
            return
        try:
            key_package = KeyPackage.parse(payload, identity=int(participant.user_id).to_bytes(8, "big"))
        except RemoteProtocolError as fault:
            self.rejected[str(fault)] += 1
            return
        self._tell(self._group.offer(participant.user_id, key_package))

    def take_commit(self, participant: Participant, payload: bytes) -> None:
        """Opcode 28. The first valid commit of an epoch counts; the others are dropped silently."""
        try:
            commit, welcome = read_commit_welcome(payload)
            accepted = self._group.commit(participant.user_id, commit, welcome)
        except RemoteProtocolError as fault:
            self.rejected[str(fault)] += 1
            return
        self.epochs.append(Epoch(self._group.epoch, tuple(self._group.members), participant.user_id))
        self._announce(accepted)

    def take_ready(self, participant: Participant, data: Any) -> None:
        """Opcode 23."""
        transition = self._transitions.get(int(data["transition_id"]))
        if transition is not None:
            self._ready(transition, participant.user_id)

    def take_invalid(self, participant: Participant, data: Any) -> None:
        """Opcode 31: a commit or welcome could not be used; a new key package follows."""
        number = int(data["transition_id"])
        self.invalid.append((participant.user_id, number))
        if number in self._transitions:
            self._ready(self._transitions[number], participant.user_id)

    # Messages to clients

    def _tell(self, change: Change) -> None:
        everybody = {participant.user_id: participant for participant in self._call}
        shown: dict[str, tuple[list[InFlight], list[InFlight]]] = {user_id: ([], []) for user_id in everybody}
        for item in change.revoked:
            for user_id in set(self._group.audience(item)) & set(shown):
                shown[user_id][0].append(item)
        for user_id, items in change.caught_up.items():
            shown[user_id][1].extend(items)
        for item in change.proposed:
            for user_id in set(self._group.audience(item)) & set(shown):
                shown[user_id][1].append(item)
        for user_id, (revoked, proposed) in shown.items():
            if revoked:
                references = b"".join(vector(item.proposal.reference) for item in revoked)
                everybody[user_id].send_binary(Opcode.PROPOSALS, REVOKE + vector(references))
            if proposed:
                messages = b"".join(item.proposal.message for item in proposed)
                everybody[user_id].send_binary(Opcode.PROPOSALS, APPEND + vector(messages))

    def _announce(self, accepted: Accepted) -> None:
        concerned = {*accepted.followers, *accepted.welcomes}
        transition = self._begin(participant for participant in self._call if participant.user_id in concerned)
        head = struct.pack("!H", transition.number)
        for participant in transition.everybody:
            if participant.user_id in accepted.welcomes:
                self._send(participant, Opcode.WELCOME, head + accepted.welcomes[participant.user_id])
            else:
                self._send(participant, Opcode.ANNOUNCE_COMMIT, head + accepted.commit.message)

    def _send(self, participant: Participant, op: Opcode, payload: bytes) -> None:
        if (participant.user_id, op) in self.faults.corrupt:
            self.faults.corrupt.remove((participant.user_id, op))
            payload = payload[:-8] + bytes(byte ^ 0xFF for byte in payload[-8:])
        participant.send_binary(op, payload)

    # Transitions

    def _begin(self, concerned: Iterable[Participant]) -> PendingTransition:
        everybody = list(concerned)
        number = self._next
        self._next = number % (TRANSITIONS - 1) + 1  # zero means: at once
        timer = asyncio.get_running_loop().call_later(self.ready_timeout_s, self._time_is_up, number)
        transition = PendingTransition(number, everybody, {participant.user_id for participant in everybody}, timer)
        self._transitions[number] = transition
        return transition

    def _ready(self, transition: PendingTransition, user_id: str) -> None:
        transition.awaited.discard(user_id)
        if not transition.awaited:
            self._execute(transition)

    def _time_is_up(self, number: int) -> None:
        if number in self._transitions:
            self._execute(self._transitions[number])

    def _execute(self, transition: PendingTransition) -> None:
        if self._transitions.pop(transition.number, None) is None:
            return
        transition.timer.cancel()
        for participant in transition.everybody:
            participant.send(Opcode.EXECUTE_TRANSITION, {"transition_id": transition.number})
        self._note("dave executed")

    def _execute_at_once(self, concerned: Iterable[Participant]) -> None:
        for participant in concerned:
            participant.send(Opcode.PREPARE_TRANSITION, {"protocol_version": self.version, "transition_id": 0})

    # Start, downgrade and upgrade

    def _new_group(self) -> ServerGroup:
        return ServerGroup(int(self._call.channel_id).to_bytes(8, "big"), self._sender)

    def _restart(self, concerned: Iterable[Participant]) -> None:
        """Epoch 1: everybody drops their group, with all that was in progress, and offers a new key package."""
        self.close()
        self._group = self._new_group()
        for participant in concerned:
            participant.send(Opcode.PREPARE_EPOCH, {"protocol_version": self.version, "epoch": 1})

    def _agree_on_version(self) -> None:
        """Downgrade while somebody who cannot encrypt is here, upgrade when the last of them has gone."""
        everybody = list(self._call)
        version = min([PROTOCOL_VERSION, *(participant.dave_version for participant in everybody)])
        if version == self.version:
            return
        self.version = version
        able = [participant for participant in everybody if participant.dave_version]
        if version:
            self._restart(able)
        elif able:
            number = self._begin(able).number
            for participant in able:
                participant.send(Opcode.PREPARE_TRANSITION, {"protocol_version": version, "transition_id": number})

    def close(self) -> None:
        """Cancel what is in progress; idempotent."""
        for transition in self._transitions.values():
            transition.timer.cancel()
        self._transitions.clear()
