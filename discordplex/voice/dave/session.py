"""DaveSession: the end-to-end encryption between an RTP payload and an Opus packet.

Two threads meet here: the loop feeds the gateway's events and decrypts, send encrypts. One short lock guards the key to send with; the
group's computation is done outside of it.
"""

import logging
import threading
from collections.abc import Container, Iterable

import dave

from discordplex.audio.opus import SILENCE_PACKET
from discordplex.metrics import Metrics
from discordplex.voice.dave.group import MlsGroup
from discordplex.voice.gateway.events import E2eeCommand, E2eeEvent

MARKER = b"\xfa\xfa"
"""How every encrypted frame ends."""

AUDIO = dave.MediaType.audio


class DaveSession:
    """The encryption of one voice session, from its description on."""

    max_protocol_version = dave.get_max_supported_protocol_version()
    """What identify offers; Discord closes with 4017 where it demands more."""

    def __init__(self, *, user_id: int, metrics: Metrics) -> None:
        # It reports every frame that does not open as an error of its own; here each is counted.
        logging.getLogger("dave").setLevel(logging.CRITICAL)
        self._lock = threading.Lock()
        self._metrics = metrics
        self._encryptor = dave.Encryptor()
        self._decryptors: dict[int, dave.Decryptor] = {}
        self._present: frozenset[int] = frozenset()
        self._ssrc = 0
        self._version: int | None = None
        self._clear_accepted = True
        self._group = MlsGroup(user_id=user_id, keyring=self, metrics=metrics)

    @property
    def encrypted(self) -> bool:
        """Whether every frame but the silence marker has to be encrypted. Thread: any."""
        return bool(self._version)

    @property
    def ready(self) -> bool:
        """Whether `encrypt` can return something to send. Thread: any."""
        return self._version == 0 or (self._version is not None and self._encryptor.has_key_ratchet())

    @property
    def privacy_code(self) -> str | None:
        """The digits that everybody in the call sees, None without an encrypted group. Thread: loop."""
        return self._group.privacy_code

    def start(self, *, channel_id: int, ssrc: int, protocol_version: int) -> list[E2eeCommand]:
        """The session is described: our SSRC, and the protocol version of the call. Thread: loop."""
        with self._lock:
            self._ssrc = ssrc
            self._version = protocol_version
            self._clear_accepted = protocol_version == 0
            self._encryptor.assign_ssrc_to_codec(ssrc, dave.Codec.opus)
        return self._group.start(channel_id=channel_id, protocol_version=protocol_version)

    def receive(self, event: E2eeEvent) -> list[E2eeCommand]:
        """Handle one event of the gateway and return the answers, in order. Never raises. Thread: loop."""
        return self._group.receive(event)

    def rejoin(self) -> list[E2eeCommand]:
        """Ask for new keys for everybody; returns what has to be sent. The present keys are used until then. Thread: loop."""
        return self._group.rejoin()

    def join(self, user_ids: Iterable[int]) -> None:
        """These people are in the channel and may be added to the group. Thread: loop."""
        self._group.join(user_ids)
        self._present = self._group.members

    def leave(self, user_id: int) -> None:
        """This person is gone. Thread: loop."""
        self._group.leave(user_id)
        self._present = self._group.members
        self._decryptors.pop(user_id, None)

    def set_receive_keys(self, ratchets: dict[int, dave.IKeyRatchet], *, clear_too: bool) -> None:
        """Take the keys for receiving; see `KeyConsumer`. Thread: loop."""
        self._clear_accepted = self._clear_accepted or clear_too
        for user_id, ratchet in ratchets.items():
            self._decryptors.setdefault(user_id, dave.Decryptor()).transition_to_key_ratchet(ratchet)

    def set_send_key(self, ratchet: dave.IKeyRatchet | None, *, protocol_version: int) -> None:
        """Take the key for sending; see `KeyConsumer`. Thread: loop."""
        with self._lock:
            self._version = protocol_version
            self._clear_accepted = protocol_version == 0
            self._encryptor.set_key_ratchet(ratchet)

    def encrypt(self, payload: bytes) -> bytes | None:
        """What to send for one Opus packet; None if it must not be sent at all. Thread: send."""
        with self._lock:
            if self._version == 0 or payload == SILENCE_PACKET:
                return payload
            if self._version is None or not self._encryptor.has_key_ratchet():
                return None
            return self._encryptor.encrypt(AUDIO, self._ssrc, payload)

    def may_be_clear(self, payload: bytes) -> bool:
        """Whether this frame is not encrypted and may be so: then no key can tell its sender. Thread: loop."""
        return self._version == 0 or (self._clear_accepted and not payload.endswith(MARKER))

    def decrypt(self, user_id: int, payload: bytes) -> bytes | None:
        """The Opus packet in this person's frame; None if it does not open, or is unencrypted and must not be. Thread: loop."""
        decryptor = self._decryptors.get(user_id)
        if payload.endswith(MARKER) and decryptor is not None:
            return decryptor.decrypt(AUDIO, payload)
        # Without a key the two last bytes may be chance, but only in a call that is not encrypted.
        return payload if self._clear_accepted else None

    @property
    def has_keys(self) -> bool:
        """Whether there is any key to open an encrypted frame with. Thread: loop."""
        return bool(self._version and self._decryptors)

    def may_be_ignored(self, named: Iterable[int], ignored: Container[int | None]) -> bool:
        """Whether a stream without a name may be of somebody who is ignored: who has no stream among the `named` yet. Thread: loop."""
        return None in ignored or not set(named).issuperset(user_id for user_id in self._present if user_id in ignored)

    def candidates(self, named: Container[int], ignored: Container[int | None]) -> list[int]:
        """The people whose key may open a stream without a name, the most likely first. Thread: loop.

        It contains nobody who is ignored. It is empty if everybody without a `named` stream is ignored: then the stream is one of theirs.
        """
        unnamed = [user_id for user_id in self._present if user_id not in named]
        if unnamed and all(user_id in ignored for user_id in unnamed):
            return []
        return sorted((user_id for user_id in self._decryptors if user_id not in ignored), key=named.__contains__)

    def find_sender(self, payload: bytes, candidates: Iterable[int]) -> tuple[int, bytes] | None:
        """The candidate whose key opens the payload, and the opened payload; None if no key opens it. Thread: loop."""
        if not payload.endswith(MARKER):
            return None
        for user_id in candidates:
            opened = self.decrypt(user_id, payload)
            if opened is not None:
                return user_id, opened
        return None
