"""What a speech server sends -> ENGINE PCM. Pure.

We ask for raw PCM, which needs no decoder; some servers send what they like. WAV and Ogg Opus are understood; what is compressed otherwise
is refused by name, since played as PCM it would be a roar in everybody's ears.
"""

import re
import struct
from collections.abc import Callable
from typing import Final

import numpy as np

from discordplex.audio.converter import Upsampler
from discordplex.audio.format import ENGINE, MODEL, SAMPLE_BYTES
from discordplex.audio.oggopus import OggOpusReader
from discordplex.audio.resampler import Resampler
from discordplex.audio.samples import int16_of, pcm_of
from discordplex.errors import LocalProtocolError, RemoteProtocolError

PCM_RATE_HZ: Final = MODEL.rate_hz
"""OpenAI's `pcm`: 24 kHz mono int16 without a header."""
SNIFFED_BYTES: Final = 12
"""Enough to know every kind by its beginning."""
LONGEST_HEADER_BYTES: Final = 1 << 16
"""A WAV file whose sound has not begun by then is none."""
FILTER_TAIL: Final = bytes(80 * SAMPLE_BYTES)
"""Silence that pushes the last sound through the longest filter."""

PCM_TAG, FLOAT_TAG, EXTENSIBLE_TAG = 1, 3, 0xFFFE
INT16_BITS, FLOAT_BITS = 16, 32
COMPRESSED: Final = {"mpeg": "MP3", "mp3": "MP3", "aac": "AAC", "flac": "FLAC", "webm": "WebM", "mp4": "MP4"}
"""Words of a content type."""
MAGIC: Final = {b"ID3": "MP3", b"fLaC": "FLAC", b"\x1aE\xdf\xa3": "WebM"}


class UnknownSoundError(RemoteProtocolError):
    """The bytes are no sound that is understood; `str()` names what they are."""


class PcmSound:
    """Mono int16 of any usual rate, cut anywhere."""

    def __init__(self, rate_hz: int) -> None:
        """Raises UnknownSoundError for a rate that is none."""
        self._rest = b""
        self._convert: Callable[[bytes], bytes] = bytes
        try:
            if rate_hz == MODEL.rate_hz:
                self._convert = Upsampler(channels=1).convert
            elif rate_hz != ENGINE.rate_hz:
                self._convert = Resampler(rate_hz, ENGINE.rate_hz).convert
        except (LocalProtocolError, ZeroDivisionError):
            raise UnknownSoundError(f"PCM at {rate_hz} Hz") from None

    def feed(self, data: bytes) -> bytes:
        """The next bytes; every whole sample as ENGINE PCM."""
        data = self._rest + data
        whole = len(data) // SAMPLE_BYTES * SAMPLE_BYTES
        self._rest = data[whole:]
        return self._convert(data[:whole])

    def finish(self) -> bytes:
        """What the filter still holds."""
        return b"" if self._convert is bytes else self._convert(FILTER_TAIL)


class WavSound:
    """A RIFF file while it arrives; a length in its header that is none (0, or all ones, as streams have it) is not believed."""

    def __init__(self) -> None:
        self._header = b""
        self._left: int | None = None
        self._rest = b""
        self._mono: Callable[[bytes], bytes] = bytes
        self._frame_bytes = SAMPLE_BYTES
        self._pcm: PcmSound | None = None
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """See PcmSound. Raises UnknownSoundError where it is not PCM inside."""
        if not self._begun:
            self._header += data
            data = self._read_header()
        if not self._begun or self._pcm is None:
            return b""
        if self._left is not None:
            data, self._left = data[: self._left], max(0, self._left - len(data))
        data = self._rest + data
        whole = len(data) // self._frame_bytes * self._frame_bytes
        self._rest = data[whole:]
        return self._pcm.feed(self._mono(data[:whole]))

    def finish(self) -> bytes:
        """See PcmSound."""
        return self._pcm.finish() if self._pcm else b""

    def _read_header(self) -> bytes:
        """Go through the chunks that are there; what is sound behind them."""
        place = 12
        while len(self._header) >= place + 8:
            name, size = struct.unpack_from("<4sI", self._header, place)
            body = place + 8
            if name == b"data":
                self._begun = True
                self._left = None if size in (0, 0xFFFFFFFF) else size
                return self._header[body:]
            if len(self._header) < body + size:
                break
            if name == b"fmt ":
                self._understand(self._header[body : body + size])
            place = body + size + size % 2
        if len(self._header) > LONGEST_HEADER_BYTES:
            raise UnknownSoundError("a WAV file without sound")
        return b""

    def _understand(self, fmt: bytes) -> None:
        if len(fmt) < 16:  # noqa: PLR2004 -- the shortest format chunk there is
            raise UnknownSoundError("a damaged WAV file")
        tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
        if tag == EXTENSIBLE_TAG and len(fmt) >= 26:  # noqa: PLR2004 -- the true tag begins the sub-format's id
            tag = struct.unpack_from("<H", fmt, 24)[0]
        if (tag, bits) not in ((PCM_TAG, INT16_BITS), (FLOAT_TAG, FLOAT_BITS)) or channels == 0:
            raise UnknownSoundError(f"WAV of an unusual kind ({bits} bit)")
        self._frame_bytes = channels * bits // 8
        self._mono = averaged(channels, bits)
        self._pcm = PcmSound(rate_hz)


class OpusSound:
    """An Ogg Opus stream. Damage costs the packet it hit."""

    def __init__(self) -> None:
        self._reader = OggOpusReader(ENGINE.rate_hz)

    def feed(self, data: bytes) -> bytes:
        """See PcmSound."""
        try:
            return self._reader.read(data)
        except RemoteProtocolError:
            return b""

    def finish(self) -> bytes:
        """See PcmSound."""
        return self.feed(b"")


class SpeechSound:
    """One answer of a speech server, cut anywhere: `feed` gives what can be played by now, `finish` the rest."""

    def __init__(self, content_type: str = "") -> None:
        """`content_type` is the answer's header. Raises UnknownSoundError where that already says what cannot be played."""
        kind = content_type.lower()
        for word, name in COMPRESSED.items():
            if word in kind:
                raise UnknownSoundError(name)
        rate = re.search(r"rate=(\d+)", kind)
        self._pcm_rate_hz = int(rate[1]) if rate else PCM_RATE_HZ
        self._begin = b""
        self._sound: PcmSound | WavSound | OpusSound | None = None

    def feed(self, data: bytes) -> bytes:
        """The next bytes. Raises UnknownSoundError where they begin like what cannot be played."""
        if self._sound is not None:
            return self._sound.feed(data)
        self._begin += data
        return self._recognise() if len(self._begin) >= SNIFFED_BYTES else b""

    def finish(self) -> bytes:
        """No more comes."""
        early = self._recognise() if self._sound is None and self._begin else b""
        return early + (self._sound.finish() if self._sound else b"")

    def _recognise(self) -> bytes:
        begin, self._begin = self._begin, b""
        refuse_compressed(begin)
        if begin.startswith(b"RIFF"):
            self._sound = WavSound()
        elif begin.startswith(b"OggS"):
            self._sound = OpusSound()
        else:
            self._sound = PcmSound(self._pcm_rate_hz)
        return self._sound.feed(begin)


def refuse_compressed(begin: bytes) -> None:
    """Raise UnknownSoundError where bytes begin like MP3, AAC, FLAC or WebM.

    MP3 and AAC frames begin with 11 set bits and their layer; as the first sample of PCM those bytes would be a click at a tenth of full
    scale, and speech begins with quiet.
    """
    name = next((name for magic, name in MAGIC.items() if begin.startswith(magic)), None)
    if name is None and begin[:1] == b"\xff" and len(begin) > 1:
        name = "MP3" if begin[1] & 0xE6 == 0xE2 else "AAC" if begin[1] & 0xF6 == 0xF0 else None  # noqa: PLR2004 -- sync bits, then the layer's
    if name is not None:
        raise UnknownSoundError(name)


def averaged(channels: int, bits: int) -> Callable[[bytes], bytes]:
    """What makes mono int16 of whole frames."""

    def from_int16(data: bytes) -> bytes:
        return bytes(np.rint(int16_of(data).reshape(-1, channels).mean(axis=1)).astype("<i2").tobytes())

    def from_float(data: bytes) -> bytes:
        return pcm_of(np.frombuffer(data, "<f4").reshape(-1, channels).mean(axis=1, dtype=np.float32))

    if bits == FLOAT_BITS:
        return from_float
    return bytes if channels == 1 else from_int16
