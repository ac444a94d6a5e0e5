"""MP3, FLAC and Ogg Vorbis to samples, by libsndfile through the optional package `soundfile`. Pure; imported when such a file comes.

libsndfile needs a complete file to seek in, so playing begins once all of it is there. Its output is read in short blocks, since a few
bytes can mean hours of sound.
"""

import importlib
import io
import itertools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from typing_extensions import Buffer

from discordplex.audio.ogg import CAPTURE, Page, parse_page
from discordplex.audio.wavreader import Run
from discordplex.errors import RemoteProtocolError

MOST_BYTES: Final = 8 << 20
"""Limit of one answer: 45 s of FLAC at 48 kHz in stereo, minutes of anything else."""
BLOCK_FRAMES: Final = 960
MOST_CHANNELS: Final = 8
MOST_FILES: Final = 100
"""Most files joined in one answer."""
MOST_CODEBOOK_ENTRIES: Final = 1 << 17
"""Limit of a Vorbis stream; encoders use up to 50,000. A hundred bytes can claim 16 million, and libvorbis allocates all of them."""

HEADER_BYTES: Final = 1 << 17
"""How much of a header is examined; those of encoders are 4 kB."""
HEADER_PACKETS: Final = 3

BEGINS: Final = {"FLAC": (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22"), "Ogg Vorbis": (b"OggS\x00\x02",)}
"""What each of several joined files begins with; MP3 frames need nothing of the kind."""
TAGS: Final = (b"Xing", b"Info", b"VBRI")
"""Tags in an MP3 file's first frame: its length, which is wrong in streams and in joined files."""
CLAIMED_BYTES: Final = 1 << 26


class SoundFileReader:
    """One answer that is a compressed file, or several joined. Use it in one thread at a time; decoding releases the interpreter lock."""

    def __init__(self, kind: str) -> None:
        """`kind` is MP3, FLAC or Ogg Vorbis. Raises RemoteProtocolError, which names it, where it cannot be decoded here."""
        try:
            self._library: Any = importlib.import_module("soundfile")
        except (ImportError, OSError):  # OSError: the package without libsndfile, where it has no wheel
            raise RemoteProtocolError(kind) from None
        self._kind = kind
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises RemoteProtocolError where they are too many."""
        self._data += data
        if len(self._data) > MOST_BYTES:
            raise RemoteProtocolError(f"{self._kind} of more than {MOST_BYTES >> 20} MB")

    def finish(self) -> Iterator[Run]:
        """The sound, block by block. Raises RemoteProtocolError where it cannot be decoded."""
        for data in self._files():
            try:
                with self._library.SoundFile(data) as file:
                    yield from self._blocks(file)
            except (self._library.LibsndfileError, TypeError, ValueError):
                raise RemoteProtocolError(f"damaged {self._kind}") from None

    def _blocks(self, file: Any) -> Iterator[Run]:
        if not 0 < file.channels <= MOST_CHANNELS:
            raise RemoteProtocolError(f"{self._kind} of {file.channels} channels")
        while len(samples := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
            mono = np.asarray(samples.mean(axis=1), dtype=np.float32)
            yield file.samplerate, np.clip(np.nan_to_num(mono), -1.0, 1.0)

    def _files(self) -> Iterator[io.BytesIO]:
        data = bytes(self._data)
        if self._kind == "MP3":
            for tag in TAGS:
                data = data.replace(tag, bytes(len(tag)))
            yield Endless(data)
            return
        starts = [place for place in places_of(data, BEGINS[self._kind]) if place]
        cuts = [0, *starts[: MOST_FILES - 1], len(data)]
        for start, end in itertools.pairwise(cuts):
            file = data[start:end]
            if self._kind == "Ogg Vorbis" and codebook_entries(file) > MOST_CODEBOOK_ENTRIES:
                raise RemoteProtocolError(f"damaged {self._kind}")
            yield io.BytesIO(file)


class Endless(io.BytesIO):
    """An MP3 stream that claims to be long: libsndfile estimates a file's length from its first frame, and reads no further than that."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As BytesIO; the end is the claimed one."""
        return super().seek(CLAIMED_BYTES + offset) if whence == io.SEEK_END else super().seek(offset, whence)

    def readinto(self, buffer: Buffer, /) -> int:
        """As BytesIO; between the true end and the claimed one there are zeros, where libsndfile looks for a tag."""
        place = self.tell()
        if place <= self.getbuffer().nbytes:
            return super().readinto(buffer)
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), CLAIMED_BYTES - place))
        view[:count] = bytes(count)
        self.seek(place + count)
        return count


def places_of(data: bytes, marks: tuple[bytes, ...]) -> list[int]:
    """Where any of the marks are."""
    found = []
    for mark in marks:
        place = data.find(mark)
        while place >= 0:
            found.append(place)
            place = data.find(mark, place + 1)
    return sorted(found)


def codebook_entries(data: bytes) -> int:
    """How many entries all codebooks in a Vorbis stream's header claim. Each begins with BCV, at any bit, and 16 bits of dimensions."""
    bits = np.unpackbits(np.frombuffer(vorbis_header(data), np.uint8), bitorder="little")
    total = 0
    for shift in range(8):
        shifted = np.packbits(bits[shift:], bitorder="little").tobytes()
        total += sum(int.from_bytes(shifted[place + 5 : place + 8], "little") for place in places_of(shifted, (b"BCV",)))
    return total


def vorbis_header(data: bytes) -> bytes:
    """The three header packets of the first stream in an Ogg file, up to `HEADER_BYTES`."""
    header, packets, serial = b"", 0, None
    place = data.find(CAPTURE)
    while place >= 0 and packets < HEADER_PACKETS and len(header) < HEADER_BYTES:
        page = parse_page(data, place)
        if isinstance(page, Page) and serial in (None, page.serial):
            serial = page.serial
            header += page.body
            packets += sum(size < 255 for size in page.lacing)  # noqa: PLR2004 -- a segment that ends a packet
        place = data.find(CAPTURE, place + 1)
    return header
