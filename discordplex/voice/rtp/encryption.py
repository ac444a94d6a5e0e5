"""The two rtpsize AEAD modes between us and Discord's voice server. Pure.

The nonce is a 4-byte counter, big-endian, followed by zeros up to the cipher's nonce length; the counter alone travels, at the end of the
datagram. Authenticated with the ciphertext: the clear header, extension preamble included.
Measured per 20 ms packet: AES-GCM 1.1 us, XChaCha20 4.4 us, so GCM is asked for first where the server offers it.
"""

import enum
import struct
from abc import ABC, abstractmethod

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings
from nacl.exceptions import CryptoError

from discordplex.errors import LocalProtocolError, RemoteProtocolError, VoiceError
from discordplex.voice.rtp.packet import COUNTER_BYTES, RtpError, RtpPacket

COUNTER = struct.Struct("!I")
COUNTERS = 1 << 32
"""How many packets one key, and one call, may seal: at 50 a second, 2.7 years."""

KEY_BYTES = 32

WINDOW_PACKETS = 1024
"""How many of a sender's counters are told apart, the newest included: as many as WebRTC does (RFC 3711 section 3.3.2 asks for 64)."""

WINDOW = (1 << WINDOW_PACKETS) - 1

MAX_WINDOWS = 1024
"""Senders whose counters are remembered; the one that came first makes room."""


class Freshness(enum.Enum):
    """What the counter of an authentic packet says."""

    NEW = enum.auto()
    USED = enum.auto()
    """A packet with this counter has been taken."""
    OLD = enum.auto()
    """So far behind the newest that nobody remembers whether one has."""


class ReplayWindow:
    """Which of a sender's last counters belong to packets that were taken. Counters wrap."""

    __slots__ = ("_newest", "_used")

    def __init__(self, first: int) -> None:
        self._newest = first
        self._used = 0  # bit n: the counter that is n below the newest

    def look(self, counter: int) -> Freshness:
        """Whether a packet with this counter was taken before. Changes nothing."""
        behind = (self._newest - counter) % COUNTERS
        if behind >= COUNTERS // 2:
            return Freshness.NEW
        if behind >= WINDOW_PACKETS:
            return Freshness.OLD
        return Freshness.USED if (self._used >> behind) & 1 else Freshness.NEW

    def note(self, counter: int) -> None:
        """A packet with this counter is taken."""
        ahead = (counter - self._newest) % COUNTERS
        if ahead < COUNTERS // 2:
            self._newest = counter
            self._used = ((self._used << ahead) & WINDOW if ahead < WINDOW_PACKETS else 0) | 1
        elif COUNTERS - ahead < WINDOW_PACKETS:
            self._used |= 1 << (COUNTERS - ahead)


class Transport(ABC):
    """One session's key, with its nonce counter and the counters that were received.

    `seal` has one calling thread, and all else has one; the two share nothing that changes.
    """

    mode: str
    nonce_bytes: int

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise RemoteProtocolError(f"a transport key has {KEY_BYTES} bytes, not {len(key)}")
        self.sealed = 0
        """The next packet's nonce counter."""
        self._windows: dict[int, ReplayWindow] = {}

    @staticmethod
    def for_mode(mode: str, key: bytes) -> "Transport":
        """The transport of a session description. Raises RemoteProtocolError for a mode or a key length that does not exist."""
        if mode not in _BY_MODE:
            raise RemoteProtocolError("unknown transport mode")
        return _BY_MODE[mode](key)

    def seal(self, header: bytes, plaintext: bytes) -> bytes:
        """The whole datagram of one packet. Never uses a nonce twice; raises LocalProtocolError once none is left."""
        if self.sealed == COUNTERS:
            raise LocalProtocolError("this transport key has no nonce left")
        counter = COUNTER.pack(self.sealed)
        self.sealed += 1
        return header + self._encrypt(counter.ljust(self.nonce_bytes, b"\x00"), header, plaintext) + counter

    def open(self, packet: RtpPacket) -> bytes:
        """The plaintext of a packet: extension words, payload, padding. Raises RtpError where it does not authenticate."""
        counter = packet.body[-COUNTER_BYTES:]
        return self._decrypt(counter.ljust(self.nonce_bytes, b"\x00"), packet.header, packet.body[:-COUNTER_BYTES])

    def freshness(self, packet: RtpPacket) -> Freshness:
        """Whether this authentic packet was taken before: a captured datagram opens as often as it is sent."""
        window = self._windows.get(packet.ssrc)
        return Freshness.NEW if window is None else window.look(packet.counter)

    def note(self, packet: RtpPacket) -> None:
        """An authentic packet is taken: the same datagram is not `NEW` any more."""
        window = self._windows.get(packet.ssrc)
        if window is None:
            if len(self._windows) == MAX_WINDOWS:
                del self._windows[next(iter(self._windows))]
            window = self._windows[packet.ssrc] = ReplayWindow(packet.counter)
        window.note(packet.counter)

    @abstractmethod
    def _encrypt(self, nonce: bytes, header: bytes, plaintext: bytes) -> bytes: ...

    @abstractmethod
    def _decrypt(self, nonce: bytes, header: bytes, ciphertext: bytes) -> bytes: ...


class AesGcmTransport(Transport):
    """AES-256-GCM."""

    mode = "aead_aes256_gcm_rtpsize"
    nonce_bytes = 12

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self._cipher = AESGCM(key)

    def _encrypt(self, nonce: bytes, header: bytes, plaintext: bytes) -> bytes:
        return self._cipher.encrypt(nonce, plaintext, header)

    def _decrypt(self, nonce: bytes, header: bytes, ciphertext: bytes) -> bytes:
        try:
            return self._cipher.decrypt(nonce, ciphertext, header)
        except InvalidTag:
            raise RtpError("unauthentic", "RTP packet does not authenticate") from None


class XChaChaTransport(Transport):
    """XChaCha20-Poly1305: the mode that every Discord voice server offers."""

    mode = "aead_xchacha20_poly1305_rtpsize"
    nonce_bytes = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self._key = key

    def _encrypt(self, nonce: bytes, header: bytes, plaintext: bytes) -> bytes:
        return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, header, nonce, self._key)

    def _decrypt(self, nonce: bytes, header: bytes, ciphertext: bytes) -> bytes:
        try:
            return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, header, nonce, self._key)
        except (CryptoError, ValueError):
            raise RtpError("unauthentic", "RTP packet does not authenticate") from None


_BY_MODE: dict[str, type[Transport]] = {kind.mode: kind for kind in (AesGcmTransport, XChaChaTransport)}

MODES = tuple(_BY_MODE)
"""The modes spoken here, best first."""


def choose_mode(offered: tuple[str, ...]) -> str:
    """The best transport mode that both sides speak. Raises VoiceError where there is none."""
    for mode in MODES:
        if mode in offered:
            return mode
    raise VoiceError("Discord's voice server offers no transport encryption that this bot speaks; a newer version of discordplex may help.")
