"""Server-sent events, split anywhere, to the data of each event, within a size limit. Pure."""

from collections.abc import Iterator
from typing import Final

LONGEST_EVENT_BYTES: Final = 1 << 18
"""Size limit of one event unless its reader sets another. A token is 300 bytes, a whole reply with its statistics some kilobytes."""


class EventTooLongError(Exception):
    """A line or an event is longer than its reader's limit."""


class EventReader:
    """Bytes in, the data of events out, and b"" for every other line, so that the caller can count lines.

    More is accepted than the standard allows: a line of JSON is an event without waiting for the empty line after it, which some servers
    omit, and so is one without `data:` before it.
    """

    def __init__(self, longest: int = LONGEST_EVENT_BYTES) -> None:
        """`longest` is the limit of one event in bytes; no more than twice as much is held."""
        self.name = b""
        """The name of the event whose data was yielded last."""
        self._longest = longest
        self._pending = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Take the next bytes; lines end in CR, LF or both. Raises EventTooLongError before more than the limit is held."""
        fresh = b"\n" in block or b"\r" in block or self._pending.endswith(b"\r")
        self._pending += block
        if fresh:
            text = bytes(self._pending)
            held = b"\r" if text.endswith(b"\r") else b""  # its LF may follow
            *lines, rest = text.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            self._pending = bytearray(rest + held)
            yield from self._read(lines)
        if len(self._pending) > self._longest:
            raise EventTooLongError

    def finish(self) -> Iterator[bytes]:
        """The stream has ended: return what the last lines held."""
        yield from self._read([bytes(self._pending.rstrip(b"\r")), b""])

    def _read(self, lines: list[bytes]) -> Iterator[bytes]:
        for line in lines:
            if line:
                yield self._line(line)
            else:
                yield b"\n".join(self._data)
                self._data, self._size, self.name = [], 0, b""

    def _line(self, line: bytes) -> bytes:
        line = line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark before the first one
        if line.startswith(b"event:"):
            self.name = line[6:].strip()
        is_data = line.startswith(b"data:")
        data = line[5:].strip() if is_data else line
        if not self._data and data.startswith(b"{") and data.endswith(b"}"):
            return data
        if is_data:
            self._size += len(data) + 1
            if self._size > self._longest:
                raise EventTooLongError
            self._data.append(data)
        return b""
