"""SpeechSound: what a speech server sends to ENGINE PCM, within limits. Pure.

We ask for raw PCM, which needs no decoder, but some servers send another format under any label. The format is recognised by its bytes:
WAV and Ogg Opus are read here, MP3, FLAC and Ogg Vorbis by libsndfile (see `soundfiles.py`). Any other compressed format is refused by
name, since played as PCM it would be loud noise.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import numpy as np

from discordplex.audio.converter import Upsampler
from discordplex.audio.format import ENGINE, MODEL, SAMPLE_BYTES
from discordplex.audio.oggopus import OggOpusReader
from discordplex.audio.resampler import Resampler
from discordplex.audio.samples import int16_of, pcm_of
from discordplex.audio.wavreader import FORMS, Run, WavReader
from discordplex.cascade.soundfiles import SoundFileReader
from discordplex.errors import RemoteProtocolError

PCM_RATE_HZ: Final = MODEL.rate_hz
"""OpenAI's `pcm`: 24 kHz mono int16 without a header."""
RATES_HZ: Final = range(8_000, 192_001)
MOST_CHANNELS: Final = 8
MOST_TAPS: Final = 700
"""11,025 Hz needs 640, every other usual rate less; such a filter takes some milliseconds to make."""
MOST_RATES: Final = 8
"""Most sample rates in one answer."""
EASY_RATES_HZ: Final = frozenset({MODEL.rate_hz, ENGINE.rate_hz})
QUIET_BYTES: Final = 1 << 18
"""Bytes of an answer without any sound in them; a server that sends more has none."""
SNIFFED_BYTES: Final = 64
"""Enough to recognise every format by its beginning."""
SOUGHT_BYTES: Final = 4_096
"""How far the first frame of MP3 or AAC is searched for, where the label says that it is one of them."""
FILTER_TAIL: Final = bytes(80 * SAMPLE_BYTES)
"""Silence that pushes the last sound through the longest filter."""
OPUS_SLICE_BYTES: Final = 512
"""Half a minute of the most silent Opus, which has a packet of 120 ms in two bytes."""

MOST_OPUS_BYTES: Final = 4 << 20
"""A minute at the highest bit rate of Opus."""

COMPRESSED: Final = ("mpeg", "mp3", "aac", "flac", "webm", "mp4", "m4a")
"""Words in a content type that mean compressed sound."""
MAGIC: Final = {
    b"\x1aE\xdf\xa3": "WebM",
    b"FORM": "AIFF",
    b".snd": "AU",
    b"caff": "CAF",
    b"#!AMR": "AMR",
    b"#!SILK": "SILK",
    b"\x02#!SILK": "SILK",
    b"RIFX": "big-endian WAV",
    b"riff.\x91\xcf\x11": "Wave64",
    b"0&\xb2u\x8ef\xcf\x11": "WMA",
    b"wvpk": "WavPack",
    b"\x1f\x8b\x08": "gzip",
    b"2BIT": "AVR",
    b"PVF1": "PVF",
    b"PVF2": "PVF",
    b" paf": "PAF",
    b"fap ": "PAF",
    b"ALawSound": "WVE",
    b"\xf0\x7e": "SDS",
    b"NIST_1A": "SPHERE",
    b"Creative": "VOC",
    b"DSD ": "DSD",
    b"FRM8": "DSD",
    b"MAC ": "Monkey's Audio",
    b"TTA1": "True Audio",
    b"MThd": "MIDI",
    b"ADIF": "AAC",
    b"\x0b\x77": "AC-3",
}
PATTERNS: Final = {
    "IRCAM": re.compile(rb"\x64\xa3[\x00-\x04]\x00|\x00[\x00-\x04]\xa3\x64"),
    "HTK": re.compile(rb".{4}\x00\x00[\x00-\x04].\x00[\x01\x02]\x00[\x00-\x0b]", re.DOTALL),
    "MATLAB": re.compile(rb".{20}samplerate\x00", re.DOTALL),
    "MPC2K": re.compile(rb"\x01\x04[ -~]{16}"),
    "text": re.compile(rb"[\t\r\n -~]{16}"),
}
"""Formats that begin with no fixed bytes. Played as samples they would be noise."""
PCM_LABELS: Final = re.compile(
    r"|application/(?:octet-stream|json|x-ndjson|x-json-stream)|binary/octet-stream|text/(?:event-stream|plain)"
    r"|audio/(?:x-)?(?:pcm|l16|raw|s16le|wav|wave|mpeg|mp3)|audio/vnd\.wave"
)
"""Content types under which raw PCM, which is what we ask for, is played: those that say so, and those that servers give to everything."""
VORBIS_HEAD: Final = b"\x01vorbis"


MP3_RATES_HZ: Final = (44_100, 48_000, 32_000)
MPEG1_KILOBITS: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MP2_KILOBITS: Final = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
MPEG2_KILOBITS: Final = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class UnknownSoundError(RemoteProtocolError):
    """The bytes are no sound that is understood; `str()` names what they are."""


class TooMuchSoundError(RemoteProtocolError):
    """The bytes are longer sound than was allowed."""


class Decoder(Protocol):
    """Bytes of one format, split anywhere, to ENGINE PCM in pieces of bounded length. Raises UnknownSoundError."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes."""
        ...

    def finish(self) -> Iterator[bytes]:
        """The input is complete."""
        ...


class RateConverter:
    """Mono int16 of one rate to ENGINE PCM."""

    def __init__(self, rate_hz: int) -> None:
        """Raises UnknownSoundError for an impossible rate."""
        self.rate_hz = rate_hz
        self.convert: Callable[[bytes], bytes] = bytes
        if rate_hz not in RATES_HZ or filter_taps(rate_hz) > MOST_TAPS:
            raise UnknownSoundError(f"sound at {rate_hz} Hz")
        if rate_hz == MODEL.rate_hz:
            self.convert = Upsampler(channels=1).convert
        elif rate_hz != ENGINE.rate_hz:
            self.convert = Resampler(rate_hz, ENGINE.rate_hz).convert

    def finish(self) -> bytes:
        """What the filter still holds."""
        return b"" if self.convert is bytes else self.convert(FILTER_TAIL)


def filter_taps(rate_hz: int) -> int:
    """The length of the resampler's filter from a rate to ENGINE's; unusual rates need longer ones."""
    common = math.gcd(rate_hz, ENGINE.rate_hz)
    return ENGINE.rate_hz // common * max(1, rate_hz // ENGINE.rate_hz)


class PcmSound:
    """int16 without a header, of any usual rate, with interleaved channels."""

    def __init__(self, rate_hz: int, channels: int = 1) -> None:
        """Raises UnknownSoundError for an impossible rate."""
        self._rest = b""
        self._channels = channels
        self._rate = RateConverter(rate_hz)
        self.rate_hz = rate_hz

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See Decoder."""
        data = self._rest + data
        frame = SAMPLE_BYTES * self._channels
        whole = len(data) // frame * frame
        self._rest = data[whole:]
        yield self._rate.convert(averaged(data[:whole], self._channels))

    def finish(self) -> Iterator[bytes]:
        """See Decoder."""
        yield self._rate.finish()


class WavSound:
    """WAV files while they arrive."""

    def __init__(self) -> None:
        self._reader = WavReader()
        self._rate: RateConverter | None = None
        self._changes = 0

    @property
    def rate_hz(self) -> int:
        """The rate of the current file, 0 before there is one."""
        return self._rate.rate_hz if self._rate is not None else 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See Decoder."""
        yield from self._convert(self._reader.feed, data)

    def finish(self) -> Iterator[bytes]:
        """See Decoder."""
        yield from self._convert(lambda _: self._reader.finish(), b"")
        if self._rate is not None:
            yield self._rate.finish()

    def _convert(self, read: Callable[[bytes], list[Run]], data: bytes) -> Iterator[bytes]:
        try:
            runs = read(data)
        except RemoteProtocolError as fault:
            raise UnknownSoundError(str(fault)) from None
        for rate_hz, samples in runs:
            if self._rate is None or self._rate.rate_hz != rate_hz:
                self._changes += 1
                if self._changes > MOST_RATES:
                    raise UnknownSoundError("WAV that changes its rate again and again")
                if self._rate is not None:
                    yield self._rate.finish()
                self._rate = RateConverter(rate_hz)
            yield self._rate.convert(pcm_of(samples))


class OpusSound:
    """An Ogg Opus stream. Damage costs the packet that it hits."""

    def __init__(self) -> None:
        self._reader = OggOpusReader(ENGINE.rate_hz, backend="libopus")  # libopus releases the interpreter lock, unlike sphn
        self._fed = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See Decoder."""
        self._fed += len(data)
        if self._fed > MOST_OPUS_BYTES:
            raise TooMuchSoundError("too many bytes")
        for start in range(0, max(1, len(data)), OPUS_SLICE_BYTES):
            try:
                yield self._reader.read(data[start : start + OPUS_SLICE_BYTES])
            except RemoteProtocolError:
                continue

    def finish(self) -> Iterator[bytes]:
        """See Decoder."""
        yield from self.feed(b"")


class FileSound:
    """MP3, FLAC or Ogg Vorbis, which libsndfile decodes once the file is complete."""

    def __init__(self, name: str) -> None:
        """Raises UnknownSoundError where that library is not installed."""
        try:
            self._reader = SoundFileReader(name)
        except RemoteProtocolError as fault:
            raise UnknownSoundError(str(fault)) from None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See Decoder."""
        try:
            self._reader.feed(data)
        except RemoteProtocolError as fault:
            raise TooMuchSoundError(str(fault)) from None
        yield b""

    def finish(self) -> Iterator[bytes]:
        """See Decoder."""
        rate: RateConverter | None = None
        try:
            for rate_hz, samples in self._reader.finish():
                if rate is None or rate.rate_hz != rate_hz:
                    if rate is not None:
                        yield rate.finish()
                    rate = RateConverter(rate_hz)
                yield rate.convert(pcm_of(samples))
        except UnknownSoundError:
            raise
        except RemoteProtocolError as fault:
            raise UnknownSoundError(str(fault)) from None
        if rate is not None:
            yield rate.finish()


class SpeechSound:
    """One answer of a speech server, split anywhere: `feed` returns what can be played by now, `finish` the rest, both in pieces.

    Raises UnknownSoundError where it cannot be played, and TooMuchSoundError once more than `longest_ms` came out.
    """

    def __init__(self, content_type: str = "", *, rate_hz: int | None = None, longest_ms: float = float("inf")) -> None:
        """`content_type` is the answer's header; `rate_hz` the rate of sound without a header, where one is configured."""
        kind = content_type.lower()
        self._is_called_compressed = any(word in kind for word in COMPRESSED)
        self._may_be_pcm = PCM_LABELS.fullmatch(kind.partition(";")[0].strip()) is not None
        self._rate_hz = rate_hz or number_in(kind, "rate") or PCM_RATE_HZ
        self._channels = min(MOST_CHANNELS, number_in(kind, "channels") or 1)
        self._longest_bytes = longest_ms * ENGINE.frame_bytes / ENGINE.frame_ms
        self._fed = 0
        self._length = 0
        self._begin = b""
        self._decoder: Decoder | None = None

    @property
    def is_cheap(self) -> bool:
        """Whether a few kilobytes are decoded fast enough to do it between two frames of a call; otherwise use a thread."""
        return isinstance(self._decoder, PcmSound | WavSound) and self._decoder.rate_hz in EASY_RATES_HZ

    @property
    def buffers_only(self) -> bool:
        """Whether `feed` only collects the bytes for `finish`."""
        return isinstance(self._decoder, FileSound)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes."""
        if self._decoder is None:
            self._begin += data
            if len(self._begin) < (SOUGHT_BYTES if self._is_called_compressed else SNIFFED_BYTES):
                return
            self._decoder, data = self._recognise()
        yield from self._counted(self._decoder.feed(data))
        self._fed += len(data)
        if self._fed > QUIET_BYTES and not self._length and not isinstance(self._decoder, FileSound):
            raise UnknownSoundError("much data without sound")

    def finish(self) -> Iterator[bytes]:
        """The answer is complete."""
        if self._decoder is None and self._begin:
            self._decoder, data = self._recognise()
            yield from self._counted(self._decoder.feed(data))
        if self._decoder is not None:
            yield from self._counted(self._decoder.finish())

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._length += len(piece)
            if self._length > self._longest_bytes:
                raise TooMuchSoundError("too much sound")
            if piece:
                yield piece

    def _recognise(self) -> tuple[Decoder, bytes]:
        """The decoder for this beginning, and the bytes from where its sound begins."""
        begin, self._begin = self._begin, b""
        if begin.startswith(FORMS):
            return WavSound(), begin
        if begin.startswith(b"OggS"):
            return ogg_sound(begin), begin
        if begin.startswith(b"fLaC"):
            return FileSound("FLAC"), begin
        if begin.startswith(b"ID3"):
            return FileSound("MP3"), begin
        name = next((name for magic, name in MAGIC.items() if begin.startswith(magic)), "MP4" if begin[4:8] == b"ftyp" else "")
        name = name or next((kind for kind, pattern in PATTERNS.items() if pattern.match(begin)), "")
        if name:
            raise UnknownSoundError(name)
        found = find_frame(begin, SOUGHT_BYTES if self._is_called_compressed else 1)
        if found is None:
            if not self._may_be_pcm:
                raise UnknownSoundError("sound of an unknown kind")
            return PcmSound(self._rate_hz, self._channels), begin
        name, start = found
        if name != "MP3":
            raise UnknownSoundError(name)
        return FileSound(name), begin[start:]


def ogg_sound(begin: bytes) -> Decoder:
    """The decoder for an Ogg stream that begins so. Raises UnknownSoundError for a codec that is not understood."""
    packet = begin[28:SNIFFED_BYTES]
    if packet.startswith(VORBIS_HEAD):
        return FileSound("Ogg Vorbis")
    if packet.startswith((b"\x7fFLAC", b"Speex", b"\x80theora", b"fishead")):
        raise UnknownSoundError("Ogg of another kind than Opus or Vorbis")
    return OpusSound()


def find_frame(data: bytes, places: int) -> tuple[str, int] | None:
    """Where MP3 or AAC begins within the first `places` bytes; None where the bytes are samples.

    Their frames begin with 11 set bits and their layer. As the first sample of PCM those bytes would be a click at a tenth of full scale,
    and speech begins quietly. After the first byte a frame counts only where another one follows it.
    """
    for start in range(min(places, len(data))):
        if data[start] != 0xFF:  # noqa: PLR2004 -- the sync word
            continue
        kind, length = frame_at(data, start)
        if kind and (start == 0 or frame_at(data, start + length)[0] == kind):
            return kind, start
    return None


def frame_at(data: bytes, start: int) -> tuple[str, int]:
    """Which format of frame begins there, and its length in bytes; "" for none."""
    head = data[start : start + 6]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004 -- the sync word
        return "", 0
    if head[1] & 0xF6 == 0xF0:  # noqa: PLR2004 -- ADTS: layer 0
        return "AAC", (head[3] & 3) << 11 | int.from_bytes(head[4:6], "big") >> 5
    if head[1] & 0xFE == 0xFC and head[2] >> 2 & 3 != 3 and head[2] >> 4 not in (0, 15):  # noqa: PLR2004 -- layer II of MPEG 1
        return "MP2", 144_000 * MP2_KILOBITS[(head[2] >> 4) - 1] // MP3_RATES_HZ[head[2] >> 2 & 3] + (head[2] >> 1 & 1)
    version, layer, rate_index, bits_index = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer != 1 or rate_index == 3 or bits_index in (0, 15):  # noqa: PLR2004 -- values that are reserved; layer III
        return "", 0
    rate_hz = MP3_RATES_HZ[rate_index] >> (0 if version == 3 else 1 if version == 2 else 2)  # noqa: PLR2004 -- MPEG 1, 2 and 2.5
    kilobits, scale = (MPEG1_KILOBITS, 144_000) if version == 3 else (MPEG2_KILOBITS, 72_000)  # noqa: PLR2004 -- as above
    return "MP3", scale * kilobits[bits_index - 1] // rate_hz + (head[2] >> 1 & 1)


def number_in(content_type: str, name: str) -> int | None:
    """A parameter of a content type, such as `rate=16000`; None where it is missing or no number of a usual length."""
    found = re.search(rf"\b{name}\s*=\s*\"?([0-9]{{1,12}})(?![0-9])", content_type[:200])
    return int(found[1]) if found else None


def averaged(pcm: bytes, channels: int) -> bytes:
    """Whole frames of int16 as mono."""
    if channels == 1:
        return pcm
    return bytes(np.rint(int16_of(pcm).reshape(-1, channels).mean(axis=1)).astype("<i2").tobytes())
