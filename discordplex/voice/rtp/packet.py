"""RTP as Discord's rtpsize modes carry it: parse, build, and the arithmetic of numbers that wrap. Pure.

```
| 12 fixed | 4 * CSRC | BE DE, word count |   clear, and authenticated with the rest: `RtpPacket.header`
| 4 * words of extension | payload | padding |   encrypted
| 16 tag | 4 nonce counter |   together with the line above: `RtpPacket.body`
```
RFC 3550 section 5.1; RFC 8285 for the extension. Unlike SRTP, the extension's words are encrypted and its preamble is not.
"""

import struct
from typing import NamedTuple

from discordplex.errors import LocalProtocolError, RemoteProtocolError

OPUS_PAYLOAD_TYPE = 120
"""The dynamic payload type that Discord gives Opus; video and retransmissions use others on the same socket."""

TAG_BYTES = 16
"""Length of the authentication tag in both transport modes."""

COUNTER_BYTES = 4
"""Length of the nonce counter that ends every datagram."""

EXTENSION_PROFILE = 0xBEDE
"""RFC 8285 one-byte headers: what Discord's clients put before their extension words."""

WORD_BYTES = 4
VERSION = 2
VERSION_SHIFT = 6
PADDING_BIT = 0x20
EXTENSION_BIT = 0x10
CSRC_MASK = 0x0F
MARKER_BIT = 0x80
RTCP_TYPES = range(192, 224)
"""Second bytes that mean RTCP where it shares a port with RTP (RFC 5761 section 4)."""

FIXED = struct.Struct("!BBHII")
PREAMBLE = struct.Struct("!HH")
SEQUENCES = 1 << 16
TIMESTAMPS = 1 << 32


class RtpError(RemoteProtocolError):
    """A datagram that is not a frame; `reason` is one word to count it by."""

    def __init__(self, reason: str, message: str) -> None:
        """`reason` becomes part of a counter's name, `message` says what is wrong with the datagram."""
        super().__init__(message)
        self.reason = reason


class RtpPacket(NamedTuple):
    """One datagram that claims to carry Opus; nothing in it is proven until `Transport.open` has accepted it.

    A tuple and no dataclass: a frozen one takes ten times as long to make, and one is made for each datagram.
    """

    header: bytes
    """The clear part, extension preamble included: what the transport authenticates."""
    body: bytes
    """Ciphertext, tag and nonce counter."""
    sequence: int
    timestamp: int
    ssrc: int
    marker: bool
    padded: bool
    extension_words: int

    @classmethod
    def parse(cls, datagram: bytes) -> "RtpPacket":
        """Read the clear part of a datagram from the network. Raises RtpError, and nothing else, for everything that is not Opus in RTP."""
        if len(datagram) < FIXED.size:
            raise RtpError("short", f"a datagram of {len(datagram)} bytes has no RTP header")
        first, second, sequence, timestamp, ssrc = FIXED.unpack_from(datagram)
        if first >> VERSION_SHIFT != VERSION:
            raise RtpError("version", f"RTP version {first >> VERSION_SHIFT} is not {VERSION}")
        if second & ~MARKER_BIT != OPUS_PAYLOAD_TYPE:
            raise _of_another_kind(second)
        header_bytes, words = FIXED.size + (first & CSRC_MASK) * WORD_BYTES, 0
        if first & EXTENSION_BIT:
            if len(datagram) < header_bytes + PREAMBLE.size:
                raise RtpError("short", "RTP packet has a truncated extension preamble")
            _, words = PREAMBLE.unpack_from(datagram, header_bytes)
            header_bytes += PREAMBLE.size
        if len(datagram) < header_bytes + TAG_BYTES + COUNTER_BYTES:
            raise RtpError("short", "RTP packet has no room for its tag and nonce counter")
        return cls(
            header=datagram[:header_bytes],
            body=datagram[header_bytes:],
            sequence=sequence,
            timestamp=timestamp,
            ssrc=ssrc,
            marker=bool(second & MARKER_BIT),
            padded=bool(first & PADDING_BIT),
            extension_words=words,
        )

    @property
    def counter(self) -> int:
        """The nonce counter that ends the datagram."""
        return int.from_bytes(self.body[-COUNTER_BYTES:], "big")


def _of_another_kind(second: int) -> RtpError:
    if second in RTCP_TYPES:
        return RtpError("rtcp", f"RTCP packet of type {second}")
    return RtpError("payload_type", f"payload type {second & ~MARKER_BIT} is not Opus")


def strip(plaintext: bytes, packet: RtpPacket) -> bytes:
    """The payload between the extension words and the padding of an opened packet; empty for a packet of pure padding.

    Raises RtpError where the packet announces more extension or padding than it holds.
    """
    start = packet.extension_words * WORD_BYTES
    end = len(plaintext)
    if start > end:
        raise RtpError("extension", "RTP extension is longer than its packet")
    if packet.padded:
        padding = plaintext[-1] if end > start else 0
        if not 0 < padding <= end - start:
            raise RtpError("padding", f"RTP padding of {padding} bytes does not fit into {end - start}")
        end -= padding
    return plaintext[start:end]


def build_header(
    *,
    sequence: int,
    timestamp: int,
    ssrc: int,
    marker: bool = False,
    padded: bool = False,
    csrc: tuple[int, ...] = (),
    extension_words: int | None = None,
) -> bytes:
    """The clear part of a packet. `extension_words` of None sends no extension; 0 sends a preamble with no words after it."""
    if len(csrc) > CSRC_MASK:
        raise LocalProtocolError(f"an RTP header has room for {CSRC_MASK} CSRC, not {len(csrc)}")
    first = VERSION << VERSION_SHIFT | len(csrc)
    first |= (PADDING_BIT if padded else 0) | (0 if extension_words is None else EXTENSION_BIT)
    second = OPUS_PAYLOAD_TYPE | (MARKER_BIT if marker else 0)
    header = FIXED.pack(first, second, sequence, timestamp, ssrc)
    if csrc:
        header += struct.pack(f"!{len(csrc)}I", *csrc)
    if extension_words is not None:
        header += PREAMBLE.pack(EXTENSION_PROFILE, extension_words)
    return header


def build_plaintext(payload: bytes, *, extension: bytes = b"", padding_bytes: int = 0) -> bytes:
    """What the transport encrypts: extension words (a multiple of four bytes), payload, and padding that ends with its own length."""
    if len(extension) % WORD_BYTES:
        raise LocalProtocolError(f"RTP extensions come in words of {WORD_BYTES} bytes, not {len(extension)}")
    padding = bytes(padding_bytes - 1) + bytes((padding_bytes,)) if padding_bytes else b""
    return extension + payload + padding


def seq_add(sequence: int, count: int) -> int:
    """The sequence number `count` packets after `sequence`, or before it where `count` is negative."""
    return (sequence + count) % SEQUENCES


def seq_diff(later: int, earlier: int) -> int:
    """How many packets `later` comes after `earlier`, by the shorter way round: -32768..32767."""
    return (later - earlier + SEQUENCES // 2) % SEQUENCES - SEQUENCES // 2


def ts_add(timestamp: int, samples: int) -> int:
    """The RTP timestamp `samples` after `timestamp`."""
    return (timestamp + samples) % TIMESTAMPS


def ts_diff(later: int, earlier: int) -> int:
    """How many samples `later` comes after `earlier`, by the shorter way round."""
    return (later - earlier + TIMESTAMPS // 2) % TIMESTAMPS - TIMESTAMPS // 2
