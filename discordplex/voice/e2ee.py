"""The seam of end-to-end encryption: what stands between a payload on the wire and Opus.

Three threads meet here: the loop feeds the gateway's events, receive decrypts, send encrypts. One short lock keeps them apart.
"""

import threading
from collections.abc import Iterable

from discordplex.metrics import Metrics
from discordplex.voice.events import E2eeCommand, E2eeEvent


class E2ee:
    """The encryption of one voice session. This one offers none, and passes every payload through."""

    max_protocol_version = 0
    """What identify offers; Discord closes with 4017 where it demands more."""

    def __init__(self, *, user_id: int, metrics: Metrics) -> None:
        self._user_id = user_id
        self._metrics = metrics
        self._lock = threading.Lock()
        self._started = False

    @property
    def encrypted(self) -> bool:
        """Whether every frame but the silence marker has to be encrypted. Thread: any."""
        return False

    @property
    def ready(self) -> bool:
        """Whether `encrypt` can give something that may be sent. Thread: any."""
        return self._started

    @property
    def privacy_code(self) -> str | None:
        """The digits that everybody in the call sees, None without an encrypted group. Thread: loop."""
        return None

    def start(self, *, channel_id: int, ssrc: int, protocol_version: int) -> list[E2eeCommand]:
        """The session is described: our SSRC, and the protocol version of the call. Thread: loop."""
        del channel_id, ssrc, protocol_version
        self._started = True
        return []

    def receive(self, event: E2eeEvent) -> list[E2eeCommand]:
        """Follow one event of the gateway and give what has to be answered, in order. Never raises. Thread: loop."""
        del event
        return []

    def join(self, user_ids: Iterable[int]) -> None:
        """These people are in the channel and may be added to the group. Thread: loop."""

    def leave(self, user_id: int) -> None:
        """This person is gone. Thread: loop."""

    def encrypt(self, payload: bytes) -> bytes | None:
        """What may be sent for one Opus packet; None where it must not be sent at all. Thread: send."""
        with self._lock:
            return payload if self._started else None

    def decrypt(self, user_id: int, payload: bytes) -> bytes | None:
        """The Opus packet in what this person sent; None where it does not open. Thread: receive."""
        del user_id
        with self._lock:
            return payload

    def find_sender(self, payload: bytes, candidates: Iterable[int]) -> tuple[int, bytes] | None:
        """Whose key opens this payload, and what is in it: how a sender is known before Discord names it. Thread: receive."""
        del payload, candidates
        return None
