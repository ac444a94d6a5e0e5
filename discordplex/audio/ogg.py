"""The Ogg container (RFC 3533): packets to pages and back.

`PageWriter` puts packets on pages. `PacketReader` takes bytes in pieces of any size, gives whole packets, and skips damage.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from discordplex.errors import LocalProtocolError

CAPTURE: Final = b"OggS"
CONTINUED: Final = 0x01
BOS: Final = 0x02
EOS: Final = 0x04

_HEADER: Final = struct.Struct("<4sBBqIIIB")
_CRC_OFFSET: Final = 22
_LACING_FULL: Final = 255
_FULL: Final = b"\xff"
_SHORT: Final = tuple(bytes((size,)) for size in range(_LACING_FULL))
_MAX_SEGMENTS: Final = 255
_MAX_PAGE_BYTES: Final = 27 + _MAX_SEGMENTS + _MAX_SEGMENTS * 255
_MAX_PACKET_BYTES: Final = 1 << 18
"""The largest packet over several pages. A comment header with a picture is the largest useful one."""
_MOST_WORK: Final = 1 << 18
"""The most bytes that one `read` examines, including repeated ones. An undamaged stream needs only its own length."""
_LEAST_WORK: Final = 512
"""The least that a page counts as, even if it is shorter: it takes 20 us."""
_SEGMENT_WORK: Final = 64
"""What each segment of a page counts as: a page may have 255 empty packets."""
_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ALL_ONES: Final = 0xFFFF_FFFF


def crc(page: bytes) -> int:
    """Ogg's CRC of a page whose CRC field is zero.

    The polynomial is zlib's with reversed bits and no inversion at either end, so zlib can compute it: 2 us for a page of 250 bytes,
    where a table in Python takes 23.
    """
    mirrored = zlib.crc32(page.translate(_MIRRORED), _ALL_ONES) ^ _ALL_ONES
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


class PageWriter:
    """Writes the pages of one logical stream, numbered from 0."""

    def __init__(self, serial: int) -> None:
        self._serial = serial
        self._sequence = 0

    def page(self, packets: list[bytes], *, granule: int, bos: bool = False, eos: bool = False) -> bytes:
        """One page with all of `packets`. Raises LocalProtocolError if they do not fit."""
        lacing = b"".join([_FULL * (len(packet) // _LACING_FULL) + _SHORT[len(packet) % _LACING_FULL] for packet in packets])
        if len(lacing) > _MAX_SEGMENTS:
            raise LocalProtocolError(f"{sum(map(len, packets))} bytes in {len(packets)} packets do not fit on one Ogg page")
        flags = BOS * bos | EOS * eos
        header = _HEADER.pack(CAPTURE, 0, flags, granule, self._serial, self._sequence, 0, len(lacing))
        body = header + lacing + b"".join(packets)
        self._sequence = (self._sequence + 1) & _ALL_ONES
        return body[:_CRC_OFFSET] + struct.pack("<I", crc(body)) + body[_CRC_OFFSET + 4 :]


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its flags, its number in the stream, its segments."""

    flags: int
    granule: int
    serial: int
    sequence: int
    lacing: bytes
    body: bytes


class PacketReader:
    """Bytes in, whole packets out. Damage is skipped and reported by `take_faults`; nothing raises."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._partial: bytearray | None = None
        self._partial_of: tuple[int, int] = (0, 0)
        self._faults: list[str] = []
        self._in_garbage = False
        self._work = 0
        self._spent = 0

    def read(self, data: bytes) -> list[bytes]:
        """Take bytes of the stream, cut anywhere, and return every packet that is now complete.

        Bytes that would cost too much to examine (thousands of empty pages or false headers) are dropped as damage.
        """
        self._pending += data
        self._work = 0
        packets: list[bytes] = []
        while (page := self._next_page()) is not None:
            packets += self._packets_of(page)
        self._spent += self._work
        return packets

    def take_work(self) -> int:
        """How many bytes were examined since the last call; at least 512 for each page or damaged header."""
        work, self._spent = self._spent, 0
        return work

    def take_faults(self) -> list[str]:
        """The damage since the last call, in order: one entry for each damaged stretch."""
        faults, self._faults = self._faults, []
        return faults

    def _next_page(self) -> Page | None:
        while self._seek_capture():
            if self._work > _MOST_WORK:
                self._faults.append("it is cut into more pieces than a stream has")
                self._pending.clear()
                return None
            found = self._parse(0)
            if found is None and not self._a_page_follows():
                return None
            if isinstance(found, Page):
                del self._pending[: _HEADER.size + len(found.lacing) + len(found.body)]
                self._in_garbage = False
                return found
            self._damage(found or "a page was cut short")
            del self._pending[: len(CAPTURE)]
        return None

    def _seek_capture(self) -> bool:
        start = self._pending.find(CAPTURE)
        if start < 0:  # keep a possible start of the next capture pattern
            start = max(0, len(self._pending) - len(CAPTURE) + 1)
            while start < len(self._pending) and not CAPTURE.startswith(self._pending[start:]):
                start += 1
        if start:
            self._damage("there is something between pages")
            del self._pending[:start]
        return self._pending.startswith(CAPTURE)

    def _a_page_follows(self) -> bool:
        """Whether a page with sound follows the awaited one: then that one's header gave a wrong length, and waiting would lose sound."""
        start = self._pending.find(CAPTURE, len(CAPTURE))
        while start > 0 and self._work <= _MOST_WORK:
            if isinstance(self._parse(start), Page):
                return True
            start = self._pending.find(CAPTURE, start + len(CAPTURE))
        return False

    def _parse(self, start: int) -> Page | str | None:
        found = parse_page(self._pending, start)
        size = _HEADER.size + len(found.lacing) + len(found.body) if isinstance(found, Page) else _MAX_PAGE_BYTES if found else 0
        self._work += max(_LEAST_WORK, size) + (_SEGMENT_WORK * len(found.lacing) if isinstance(found, Page) else 0)
        return found

    def _damage(self, fault: str) -> None:
        if not self._in_garbage:
            self._faults.append(fault)
        self._in_garbage = True

    def _packets_of(self, page: Page) -> list[bytes]:
        current = self._continuation(page)
        packets: list[bytes] = []
        start = 0
        for size in page.lacing:
            if current is not None:
                current += page.body[start : start + size]
            start += size
            if size < _LACING_FULL:
                if current is not None:
                    packets.append(bytes(current))
                current = bytearray()
        ends_within = bool(page.lacing) and page.lacing[-1] == _LACING_FULL
        self._partial = current if ends_within and current is not None and len(current) < _MAX_PACKET_BYTES else None
        self._partial_of = (page.serial, (page.sequence + 1) & _ALL_ONES)
        return packets

    def _continuation(self, page: Page) -> bytearray | None:
        """The packet that the first segment continues; None if its start is on a page that is missing."""
        expected = self._partial_of == (page.serial, page.sequence)
        if not page.flags & CONTINUED:
            if self._partial is not None:
                self._faults.append("the end of a packet is missing")
            return bytearray()
        if self._partial is None or not expected:
            self._faults.append("the beginning of a packet is missing")
            return None
        return self._partial


def parse_page(data: bytes | bytearray, start: int) -> Page | str | None:
    """The page at `start`; or what is wrong with it; or None if more bytes are needed."""
    if len(data) < start + _HEADER.size:
        return None
    _, version, flags, granule, serial, sequence, checksum, segments = _HEADER.unpack_from(data, start)
    if version != 0:
        return f"a page has version {version}"
    body_start = start + _HEADER.size + segments
    lacing = bytes(data[start + _HEADER.size : body_start])
    end = body_start + sum(lacing)
    if len(lacing) < segments or len(data) < end:
        return None
    whole = bytes(data[start:end])
    if crc(whole[:_CRC_OFFSET] + bytes(4) + whole[_CRC_OFFSET + 4 :]) != checksum:
        return "a page's checksum is wrong"
    return Page(flags, granule, serial, sequence, lacing, whole[body_start - start :])
