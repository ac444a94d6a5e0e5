"""The encrypted group of one call: Discord's DAVE protocol on top of MLS, spoken by libdave. No threads, no clock; for the loop only.

It takes the gateway's events, answers them, and gives out keys: one per sender and transition, for use when the transition says so.

* A commit or a welcome makes new keys: everybody's are for receiving at once, our own is for sending from op 22 (ExecuteTransition) on,
  and not before: others may not be able to open it yet.
* PreparedTransition 0 is executed at once and not confirmed.
* libdave reports rosters as differences and keeps its own over a reset, so none is kept here: the people in the channel are the members.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import dave

from discordplex.bounded import drop_oldest
from discordplex.metrics import Metrics
from discordplex.voice.gateway.events import (
    AnnounceCommit,
    E2eeCommand,
    E2eeEvent,
    ExecuteTransition,
    ExternalSender,
    PrepareEpoch,
    PrepareTransition,
    Proposals,
    SendCommitWelcome,
    SendInvalidCommitWelcome,
    SendKeyPackage,
    SendReadyForTransition,
    Welcome,
)

AT_ONCE = 0
"""The transition that is executed without op 22."""

NEW_GROUP_EPOCH = 1

MAX_PENDING = 32
"""Transitions that may wait for op 22; each join or leave makes one, and the server executes it within two seconds."""

MAX_MEMBERS = 1024
"""People who may be added. A voice channel lets in 99; only a stage holds more, and is not encrypted."""

CODE_DIGITS, CODE_GROUP = 30, 5


class KeyConsumer(Protocol):
    """Uses the keys."""

    def set_receive_keys(self, ratchets: dict[int, dave.IKeyRatchet], *, clear_too: bool) -> None:
        """Open these people's frames with these keys from now on (the last ones serve ten seconds more). `clear_too`: also unencrypted."""
        ...

    def set_send_key(self, ratchet: dave.IKeyRatchet | None, *, protocol_version: int) -> None:
        """Send with this key from now on. None: there is none to send with; version 0: send unencrypted."""
        ...


@dataclass(frozen=True, slots=True)
class PreparedTransition:
    """What op 22 will switch to."""

    protocol_version: int
    ratchet: dave.IKeyRatchet | None = field(repr=False)


class MlsGroup:
    """Our membership of one call's group."""

    def __init__(self, *, user_id: int, keyring: KeyConsumer, metrics: Metrics) -> None:
        self.protocol_version = 0
        self._user_id = user_id
        self._keyring = keyring
        self._metrics = metrics
        self._channel_id = 0
        self._group_version = 0  # libdave forgets it at a reset
        self._members: set[int] = set()
        self._pending: dict[int, PreparedTransition] = {}
        self._newest = AT_ONCE
        self._session = dave.Session(self._failed)

    @property
    def privacy_code(self) -> str | None:
        """Thirty digits that are the same for everybody in the call, None where it is not encrypted or there is no group yet."""
        if self.protocol_version == 0 or not self._session.has_established_group():
            return None
        authenticator = self._session.get_last_epoch_authenticator()
        return None if authenticator is None else dave.generate_displayable_code(authenticator, CODE_DIGITS, CODE_GROUP)

    @property
    def members(self) -> frozenset[int]:
        """The people who may be in the group, without ourselves."""
        return frozenset(self._members - {self._user_id})

    def start(self, *, channel_id: int, protocol_version: int) -> list[E2eeCommand]:
        """The session is described: send unencrypted, or ask to be added to the group."""
        self._channel_id = channel_id
        self.protocol_version = protocol_version
        self._pending.clear()
        if protocol_version == 0:
            self._keyring.set_send_key(None, protocol_version=0)
            return []
        return self._new_group(protocol_version)

    def join(self, user_ids: Iterable[int]) -> None:
        """These people may be added."""
        self._members.update(itertools.islice(set(user_ids) - self._members, MAX_MEMBERS - len(self._members)))

    def leave(self, user_id: int) -> None:
        """This person is gone; the commit that removes them follows."""
        self._members.discard(user_id)

    def rejoin(self) -> list[E2eeCommand]:
        """Ask to be removed and added again, although no state of ours is known to be wrong. Does nothing in a call without encryption."""
        return self._recover(self._newest) if self.protocol_version else []

    def receive(self, event: E2eeEvent) -> list[E2eeCommand]:
        """Handle one event and return the answers, in order."""
        if isinstance(event, ExternalSender):
            if event.package:  # libdave 1.1.0 dereferences the first byte of an empty one, and the process is gone
                self._session.set_external_sender(event.package)  # it keeps it over a reset
        elif isinstance(event, Proposals):
            commit = self._session.process_proposals(event.payload, self._expected())
            return [SendCommitWelcome(commit)] if commit else []
        elif isinstance(event, AnnounceCommit):
            return self._process_commit(event)
        elif isinstance(event, Welcome):
            joined = self._session.process_welcome(event.welcome, self._expected())
            return self._recover(event.transition_id) if joined is None else self._prepare(event.transition_id, self._group_version)
        elif isinstance(event, PrepareTransition):
            return self._prepare(event.transition_id, event.protocol_version)
        elif isinstance(event, PrepareEpoch):
            return self._new_group(event.protocol_version) if event.epoch == NEW_GROUP_EPOCH and event.protocol_version else []
        else:
            self._execute(event)
        return []

    def _process_commit(self, event: AnnounceCommit) -> list[E2eeCommand]:
        result = self._session.process_commit(event.commit)
        if result is dave.RejectType.ignored:
            return []
        if result is dave.RejectType.failed:
            return self._recover(event.transition_id)
        return self._prepare(event.transition_id, self._group_version)

    def _prepare(self, transition_id: int, protocol_version: int) -> list[E2eeCommand]:
        """Take the keys for receiving after the transition, and keep the key for sending until it is executed."""
        ratchets = {} if protocol_version == 0 else self._ratchets()
        self._keyring.set_receive_keys(ratchets, clear_too=protocol_version == 0 or self.protocol_version == 0)
        ratchet = None if protocol_version == 0 else self._session.get_key_ratchet(str(self._user_id))
        self._pending[transition_id] = PreparedTransition(protocol_version, ratchet)
        self._newest = transition_id
        drop_oldest(self._pending, MAX_PENDING)
        if transition_id != AT_ONCE:
            return [SendReadyForTransition(transition_id)]
        self._execute(ExecuteTransition(AT_ONCE))
        return []

    def _execute(self, event: ExecuteTransition) -> None:
        transition = self._pending.pop(event.transition_id, None)
        if transition is None:
            self._metrics.counter("voice.e2ee.unknown_transitions").add()
            return
        self.protocol_version = transition.protocol_version
        self._keyring.set_send_key(transition.ratchet, protocol_version=transition.protocol_version)
        self._metrics.counter("voice.e2ee.transitions").add()
        if transition.protocol_version == 0:
            self._session.reset()

    def _recover(self, transition_id: int) -> list[E2eeCommand]:
        """A commit or welcome could not be read: ask to be removed and added again. Until then the last keys are used."""
        if self._group_version == 0:  # a call that was never encrypted has no group to come back to
            return []
        self._metrics.counter("voice.e2ee.recoveries").add()
        return [SendInvalidCommitWelcome(transition_id), *self._new_group(self._group_version)]

    def _new_group(self, protocol_version: int) -> list[E2eeCommand]:
        """Discard the group and send a key package for the next one."""
        self._group_version = protocol_version
        self._session.reset()
        self._session.init(protocol_version, self._channel_id, str(self._user_id))
        package = self._session.get_marshalled_key_package()
        return [] if package is None else [SendKeyPackage(package)]

    def _ratchets(self) -> dict[int, dave.IKeyRatchet]:
        found = {user_id: self._session.get_key_ratchet(str(user_id)) for user_id in self._members - {self._user_id}}
        return {user_id: ratchet for user_id, ratchet in found.items() if ratchet is not None}

    def _expected(self) -> set[str]:
        return {str(user_id) for user_id in (*self._members, self._user_id)}

    def _failed(self, source: str, reason: str) -> None:
        """Count a failure that libdave reports. What follows is decided by what its call returns."""
        del source, reason
        self._metrics.counter("voice.e2ee.mls_failures").add()
