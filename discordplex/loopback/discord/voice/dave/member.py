"""DaveMember: a person's side of the encryption. A library does the cryptography (`libdave_member.py`, `davey_member.py`).

Control runs on the server's loop, `encrypt` and `decrypt` on the media thread; one lock protects both.
"""

import struct
import threading
from abc import ABC, abstractmethod
from typing import Any, Protocol

from discordplex.loopback.discord.voice.messages import Opcode

TRANSITION = struct.Struct("!H")

MARKER = b"\xfa\xfa"
"""The last two bytes of every encrypted frame."""


class MemberTransport(Protocol):
    """Where answers go."""

    def send(self, op: Opcode, data: Any) -> None:
        """Send a JSON message."""
        ...

    def send_binary(self, op: Opcode, payload: bytes) -> None:
        """Send a binary message."""
        ...


class DaveMember(ABC):
    """One person, in the group of one call after the other."""

    max_version: int

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.version = 0
        """The protocol version that is executed; 0: nothing is encrypted."""
        self.peers: set[str] = set()
        """Who else is in the call, according to the voice server: nobody else may be added."""
        self.epochs = 0
        """Commits and welcomes that were processed."""
        self.failed = 0
        """Commits and welcomes that could not be processed (op 31)."""
        self._channel_id = "0"
        self._lock = threading.Lock()
        self._spoiled_until = 0
        self._sender = b""
        self._agreed = 0
        self._pending: dict[int, int] = {}

    @property
    def settled(self) -> bool:
        """Whether no change of keys is in progress."""
        return not self._pending and self.version == self._agreed

    @property
    @abstractmethod
    def members(self) -> frozenset[str]:
        """Who is in the group, oneself included; empty before there is one."""

    @property
    @abstractmethod
    def privacy_code(self) -> str | None:
        """The voice privacy code that everybody in the call compares; None before there is a group."""

    def spoil(self, *, key_changes: int) -> None:
        """Send packets that nobody can decrypt until this many more commits or welcomes have been processed: a faulty client."""
        self._spoiled_until = self.epochs + key_changes

    # Messages of the voice server

    def begin(self, channel_id: str, version: int) -> None:
        """A session description: the protocol version of the call that was joined."""
        self._channel_id = channel_id
        self.peers = set()
        self._pending = {}
        self._agreed = version
        with self._lock:
            self.version = version
            if version:
                self._start(version)

    def take_text(self, op: int, data: Any, line: MemberTransport) -> None:
        """A JSON message."""
        if op == Opcode.CLIENTS_CONNECT:
            self.peers |= set(data["user_ids"])
        elif op == Opcode.CLIENT_DISCONNECT:
            self.peers.discard(data["user_id"])
        elif op == Opcode.PREPARE_EPOCH and data["epoch"] == 1:
            self._agreed = data["protocol_version"]
            self._offer(line)
        elif op == Opcode.PREPARE_TRANSITION:
            self._prepare(data["transition_id"], data["protocol_version"], line)
        elif op == Opcode.EXECUTE_TRANSITION:
            self._execute(data["transition_id"])

    def take_binary(self, op: int, payload: bytes, line: MemberTransport) -> None:
        """A binary message."""
        if op == Opcode.EXTERNAL_SENDER:
            self._sender = payload
            if self._agreed:
                self._offer(line)
        elif op == Opcode.PROPOSALS:
            with self._lock:
                commit = self._commit_to(payload, frozenset({*self.peers, self.user_id}))
            if commit:
                line.send_binary(Opcode.COMMIT_WELCOME, commit)
        elif op in (Opcode.ANNOUNCE_COMMIT, Opcode.WELCOME):
            self._take_epoch(op, payload, line)

    def _offer(self, line: MemberTransport) -> None:
        """Start over and ask to be added."""
        with self._lock:
            self._start(self._agreed)
            self._set_sender(self._sender)
            key_package = self._key_package()
        line.send_binary(Opcode.KEY_PACKAGE, key_package)

    def _take_epoch(self, op: int, payload: bytes, line: MemberTransport) -> None:
        (number,) = TRANSITION.unpack_from(payload)
        with self._lock:
            process = self._process_commit if op == Opcode.ANNOUNCE_COMMIT else self._process_welcome
            entered = process(payload[TRANSITION.size :])
        if entered:
            self.epochs += 1
            self._prepare(number, self._agreed, line)
        else:
            self.failed += 1
            line.send(Opcode.INVALID_COMMIT_WELCOME, {"transition_id": number})
            self._offer(line)

    def _prepare(self, number: int, version: int, line: MemberTransport) -> None:
        self._agreed = version
        self._pending[number] = version
        with self._lock:
            self._prepare_keys(number, version)
        if number:
            line.send(Opcode.TRANSITION_READY, {"transition_id": number})
        else:
            self._execute(0)

    def _execute(self, number: int) -> None:
        version = self._pending.pop(number, None)
        if version is None:
            return
        with self._lock:
            self.version = version
            self._execute_keys(number, version)

    # Media, on the media thread

    def encrypt(self, ssrc: int, opus: bytes) -> bytes | None:
        """The encrypted packet; None while there is no key: nothing is sent in the clear."""
        with self._lock:
            sealed = self._encrypt(ssrc, opus) if self.version else opus
        if sealed and self.epochs < self._spoiled_until:
            return bytes((sealed[0] ^ 0xFF,)) + sealed[1:]
        return sealed

    def decrypt(self, user_id: str | None, payload: bytes) -> tuple[str | None, bytes] | None:
        """The sender and the decrypted packet. Without a known sender, the key that decrypts it identifies them."""
        with self._lock:
            if not self.version and not payload.endswith(MARKER):
                return user_id, payload
            if user_id is not None:
                opus = self._decrypt(user_id, payload)
                return None if opus is None else (user_id, opus)
            for candidate in self.members - {self.user_id}:
                opus = self._decrypt(candidate, payload)
                if opus is not None:
                    return candidate, opus
            return None

    # What the library does; always called with the lock held

    @abstractmethod
    def _start(self, version: int) -> None:
        """Drop the group and prepare for a new one."""

    @abstractmethod
    def _set_sender(self, package: bytes) -> None: ...

    @abstractmethod
    def _key_package(self) -> bytes: ...

    @abstractmethod
    def _commit_to(self, proposals: bytes, expected: frozenset[str]) -> bytes | None:
        """The commit, followed by the welcome, for these proposals."""

    @abstractmethod
    def _process_commit(self, commit: bytes) -> bool:
        """Advance to the epoch of a commit; whether that worked."""

    @abstractmethod
    def _process_welcome(self, welcome: bytes) -> bool:
        """Join the group of a welcome; whether that worked."""

    @abstractmethod
    def _prepare_keys(self, number: int, version: int) -> None:
        """Prepare to decrypt what others send after the transition, and keep the own key for it: transitions overlap."""

    @abstractmethod
    def _execute_keys(self, number: int, version: int) -> None:
        """Send with the transition's key from now on."""

    @abstractmethod
    def _encrypt(self, ssrc: int, opus: bytes) -> bytes | None: ...

    @abstractmethod
    def _decrypt(self, user_id: str, payload: bytes) -> bytes | None: ...
