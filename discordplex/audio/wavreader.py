"""WavReader: WAVE bytes to samples, cut anywhere. Pure.

One reader for files that a person names and for streams of a speech server. Lengths in a file are only hints, because a streaming writer
does not know them. The length of the form is ignored. A sound chunk without a length (0 or all ones) ends at another chunk, another file or
the end. So does sound that continues after the claimed end of its chunk.
"""

import struct
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from discordplex.errors import RemoteProtocolError

FORMS: Final = (b"RIFF", b"RF64", b"BW64")
"""The first bytes of a WAVE file; the last two are for files over 4 GB and otherwise the same."""

_KNOWN_CHUNKS: Final = frozenset(
    b"fmt |data|LIST|fact|JUNK|junk|PAD |FLLR|id3 |ID3 |bext|cue |smpl|inst|PEAK|iXML|axml|chna|umid|cart|acid|DISP|plst|ds64".split(b"|")
)
_NAME_BYTES: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_ ")
_LONGEST_UNKNOWN_CHUNK: Final = 1 << 20
"""Four bytes of sound may look like a chunk name, but the next four rarely look like such a short length."""
_LONGEST_FORMAT: Final = 1 << 12
_MOST_CHUNKS: Final = 10_000
_MOST_CHANNELS: Final = 32
_HEAD_BYTES: Final = 12
_CHUNK_BYTES: Final = 8
_SHORTEST_FORMAT: Final = 16
_SUB_FORMAT: Final = 24
"""The offset of the true format in an extensible format."""
_UNKNOWN_LENGTH: Final = 0xFFFF_FFFF

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_WIDTHS: Final = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8)}
"""The supported bytes per sample of each format."""

Run: TypeAlias = tuple[int, NDArray[np.float32]]
"""Consecutive samples: their rate in Hz, and the mean of their channels, from -1.0 to 1.0."""
State: TypeAlias = Literal["form", "chunk", "format", "skip", "pad", "data", "after data"]


class WavReader:
    """Reads WAVE files, one after the other. One thread at a time.

    8, 16, 24 and 32 bit integers, 32 and 64 bit floats, plain or extensible, of any rate. It buffers at most a header and a frame.
    """

    def __init__(self) -> None:
        self._state: State = "form"
        self._buffer = bytearray()
        self._left: int | None = 0
        """The remaining bytes of the current chunk; None for sound without a known end."""
        self._odd = False
        """Whether a pad byte follows the current chunk."""
        self._chunks = 0
        self._rest = b""
        self._format: tuple[int, int, int, int] | None = None
        """Tag, channels, bytes of a sample, rate."""
        self._found = False

    def feed(self, data: bytes) -> list[Run]:
        """Take the next bytes; returns every whole frame of sound. Raises RemoteProtocolError, with the reason, for an unknown file."""
        self._buffer += data
        runs: list[Run] = []
        while self._step(runs, last=False):
            pass
        return runs

    def finish(self) -> list[Run]:
        """The end: returns the buffered rest. Raises RemoteProtocolError if there was no sound chunk."""
        runs: list[Run] = []
        while self._buffer and self._step(runs, last=True):
            pass
        if not self._found:
            raise RemoteProtocolError("no WAV file" if self._state == "form" else "a WAV file without sound")
        return runs

    def _step(self, runs: list[Run], *, last: bool) -> bool:
        """Read one part of a file; returns whether the next one may be in the buffer."""
        match self._state:
            case "data":
                return self._read_sound(runs, last=last)
            case "after data":
                return self._judge_end(last=last)
            case "pad":
                return self._skip_pad(last=last)
            case "skip":
                return self._skip()
        headers = {"form": self._read_form, "chunk": self._read_chunk, "format": self._read_format}
        return headers[self._state]()

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _read_form(self) -> bool:
        if len(self._buffer) < _HEAD_BYTES:
            return False
        if not is_form(self._take(_HEAD_BYTES)):
            raise RemoteProtocolError("no WAV file")
        self._format = None
        self._state = "chunk"
        return True

    def _read_chunk(self) -> bool:
        if len(self._buffer) < _CHUNK_BYTES:
            return False
        if self._buffer.startswith(FORMS):
            self._state = "form"
            return True
        self._chunks += 1
        if self._chunks > _MOST_CHUNKS:
            raise RemoteProtocolError("a damaged WAV file")
        name, size = struct.unpack("<4sI", self._take(_CHUNK_BYTES))
        self._left, self._odd = size, bool(size % 2)
        if name == b"data":
            self._begin_sound(size)
        elif name == b"fmt ":
            self._state = "format"
            if not _SHORTEST_FORMAT <= size <= _LONGEST_FORMAT:
                raise RemoteProtocolError("a damaged WAV file")
        else:
            self._state = "skip"
        return True

    def _begin_sound(self, size: int) -> None:
        if self._format is None:
            raise RemoteProtocolError("a damaged WAV file")
        self._found = True
        self._rest = b""
        self._state = "data" if size else "after data"
        if size == _UNKNOWN_LENGTH:
            self._left, self._odd = None, False

    def _read_format(self) -> bool:
        size = self._left or 0
        if len(self._buffer) < size:
            return False
        fmt = self._take(size)
        tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
        if tag == _EXTENSIBLE:
            tag = struct.unpack_from("<H", fmt, _SUB_FORMAT)[0] if len(fmt) > _SUB_FORMAT + 1 else _PCM
        width = (bits + 7) // 8
        if width not in _WIDTHS.get(tag, ()):
            raise RemoteProtocolError(f"WAV of an unusual kind (format {tag}, {bits} bit)")
        if not 0 < channels <= _MOST_CHANNELS:
            raise RemoteProtocolError(f"WAV of {channels} channels")
        self._format = tag, channels, width, rate_hz
        self._state = "pad"
        return True

    def _skip(self) -> bool:
        left = self._left or 0
        skipped = min(left, len(self._buffer))
        del self._buffer[:skipped]
        self._left = left - skipped
        if self._left:
            return False
        self._state = "pad"
        return True

    def _skip_pad(self, *, last: bool) -> bool:
        """Skip the pad byte after a chunk of odd length, which some writers omit."""
        if self._odd:
            if len(self._buffer) < _CHUNK_BYTES and not last:
                return False
            if bytes(self._buffer[:4]) not in _KNOWN_CHUNKS:
                del self._buffer[:1]
        self._state = "chunk"
        return True

    def _read_sound(self, runs: list[Run], *, last: bool) -> bool:
        count = len(self._buffer) if self._left is None else min(self._left, len(self._buffer))
        count, is_end = next_form(self._buffer, count, last=last)
        self._sound(self._take(count), runs)
        if is_end:
            self._state = "form"
            return True
        if self._left is not None:
            self._left -= count
            if not self._left:
                self._state = "after data"
                return True
        return False

    def _judge_end(self, *, last: bool) -> bool:
        """Decide what follows the claimed end of a sound chunk: another chunk, another file, or more sound because the claim was wrong."""
        if len(self._buffer) <= _HEAD_BYTES and not last:
            return False
        for pad in (1, 0) if self._odd else (0,):
            if is_chunk(bytes(self._buffer[pad : pad + _HEAD_BYTES])):
                del self._buffer[:pad]
                self._state = "chunk"
                return True
        if self._odd and len(self._buffer) == 1:
            return False
        self._state, self._left = "data", None
        return True

    def _sound(self, data: bytes, runs: list[Run]) -> None:
        if self._format is None:
            return
        tag, channels, width, rate_hz = self._format
        data = self._rest + data
        whole = len(data) - len(data) % (width * channels)
        self._rest = data[whole:]
        if whole:
            samples = floats(data[:whole], width, is_float=tag == _FLOAT)
            runs.append((rate_hz, samples if channels == 1 else samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)))


def is_form(head: bytes) -> bool:
    """Whether these 12 bytes start a WAVE file."""
    return head.startswith(FORMS) and head[8:_HEAD_BYTES] == b"WAVE"


def is_chunk(head: bytes) -> bool:
    """Whether 12 bytes look like the header of a chunk or a file, and not like sound."""
    if len(head) < _CHUNK_BYTES:
        return False
    if head.startswith(FORMS):
        return is_form(head)
    name, size = head[:4], int.from_bytes(head[4:_CHUNK_BYTES], "little")
    return name in _KNOWN_CHUNKS or (_NAME_BYTES.issuperset(name) and size <= _LONGEST_UNKNOWN_CHUNK)


def next_form(data: bytearray, count: int, *, last: bool) -> tuple[int, bool]:
    """How many of the first `count` bytes are certainly sound, and whether another file starts after them.

    A possible start of a file does not count as sound, unless these are the `last` bytes.
    """
    for name in FORMS:
        start = data.find(name, 0, count)
        while start >= 0:
            head = bytes(data[start : start + _HEAD_BYTES])
            if is_form(head):
                return start, True
            if len(head) < _HEAD_BYTES and not last:
                return start, False
            start = data.find(name, start + 1, count)
    if last or count < len(data):
        return count, False
    held = next((length for length in (3, 2, 1) if any(data.endswith(name[:length], max(0, count - 3)) for name in FORMS)), 0)
    return max(0, count - held), False


def floats(data: bytes, width: int, *, is_float: bool) -> NDArray[np.float32]:
    """Whole samples of 8 (unsigned), 16, 24 or 32 bits, or of 32 or 64 bit floats, as -1.0 to 1.0; NaN is silence."""
    if is_float:
        with np.errstate(over="ignore"):
            given = np.frombuffer(data, f"<f{width}").astype(np.float32)
        return np.asarray(np.clip(np.nan_to_num(given), -1.0, 1.0), dtype=np.float32)
    if width == 1:
        return np.asarray((np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128))
    if width == 3:  # noqa: PLR2004 -- three bytes, widened to four with the low one zero
        widened = np.zeros((len(data) // 3, 4), np.uint8)
        widened[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, width = widened.tobytes(), 4
    return np.asarray(np.frombuffer(data, f"<i{width}").astype(np.float32) / np.float32(1 << (8 * width - 1)))
