"""Ogg (RFC 3533) as sphn 0.1.12 inside NVIDIA's server reads and writes it: tolerant of garbage between pages, of little else.

Measured: lost pages, pages split over messages and several pages in a message are accepted; a bad checksum, a first page without BOS, a
page of another stream without BOS and a second BOS of the same stream end the reader.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

CAPTURE = b"OggS"
HEADER = struct.Struct("<4sBBqIIIB")
"""Capture pattern, version, flags, granule position, serial, page number, checksum, number of segments."""

CHECKSUM_AT = 22
CONTINUED, BOS = 1, 2
FULL_SEGMENT = 255
POLYNOMIAL = 0x04C11DB7
TOP_BIT = 0x80000000
WORD = 0xFFFFFFFF


class OggStreamError(Exception):
    """The stream cannot be read any more; the audio loop of the server ends with this error."""


@dataclass(frozen=True, slots=True)
class OggPage:
    """One page's packets; the last one may continue in the next page."""

    flags: int
    serial: int
    packets: tuple[bytes, ...]
    unfinished: bytes = b""
    first_goes_on: bool = False


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = ((value << 1) ^ POLYNOMIAL if value & TOP_BIT else value << 1) & WORD
        rows.append(value)
    return tuple(rows)


TABLE = _table()


def checksum(page: bytes) -> int:
    """Ogg's CRC-32 over a page whose own checksum field is zero."""
    value = 0
    for byte in page:
        value = ((value << 8) & WORD) ^ TABLE[(value >> 24) ^ byte]
    return value


def write_page(packets: list[bytes], *, flags: int, granule: int, serial: int, number: int) -> bytes:
    """One page that holds these packets whole."""
    lacing = b"".join(bytes([FULL_SEGMENT]) * (len(packet) // FULL_SEGMENT) + bytes([len(packet) % FULL_SEGMENT]) for packet in packets)
    body = lacing + b"".join(packets)
    blank = HEADER.pack(CAPTURE, 0, flags, granule, serial, number, 0, len(lacing)) + body
    return blank[:CHECKSUM_AT] + struct.pack("<I", checksum(blank)) + blank[CHECKSUM_AT + 4 :]


class PageReader:
    """Bytes, split anywhere, to packets of the one stream. Raises OggStreamError, and from then on always."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._serial: int | None = None
        self._partial = b""
        self._dead = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The audio packets that are now complete; the two header packets are dropped, as in the real reader."""
        if self._dead:
            raise OggStreamError("the reader died earlier")
        self._buffer += data
        try:
            packets = [packet for page in iter(self._next_page, None) for packet in self._packets(page)]
        except OggStreamError:
            self._dead = True
            raise
        return iter(packets)

    def _next_page(self) -> OggPage | None:
        start = self._buffer.find(CAPTURE)
        if start < 0:
            del self._buffer[: -len(CAPTURE) + 1]
            return None
        del self._buffer[:start]
        if len(self._buffer) < HEADER.size:
            return None
        _, _, flags, _, serial, _, crc, count = HEADER.unpack_from(self._buffer)
        lacing = bytes(self._buffer[HEADER.size : HEADER.size + count])
        size = HEADER.size + count + sum(lacing)
        if len(lacing) < count or len(self._buffer) < size:
            return None
        raw = bytes(self._buffer[:size])
        del self._buffer[:size]
        if checksum(raw[:CHECKSUM_AT] + bytes(4) + raw[CHECKSUM_AT + 4 :]) != crc:
            raise OggStreamError("a page's checksum is wrong")
        return cut(flags, serial, lacing, raw[HEADER.size + count :])

    def _packets(self, page: OggPage) -> Iterator[bytes]:
        if page.flags & BOS:
            if page.serial == self._serial:
                raise OggStreamError("the stream began a second time")
            self._serial, self._partial = page.serial, b""
        elif page.serial != self._serial:
            raise OggStreamError("a page of a stream whose first page never came")
        for index, packet in enumerate(page.packets):
            whole = self._partial + packet if page.first_goes_on and index == 0 else packet
            if not whole.startswith((b"OpusHead", b"OpusTags")):
                yield whole
        self._partial = page.unfinished


def cut(flags: int, serial: int, lacing: bytes, body: bytes) -> OggPage:
    """Split a page's body into packets, by its lacing values."""
    packets, start, length = [], 0, 0
    for segment in lacing:
        length += segment
        if segment < FULL_SEGMENT:
            packets.append(body[start : start + length])
            start, length = start + length, 0
    return OggPage(flags, serial, tuple(packets), body[start:], bool(flags & CONTINUED))
