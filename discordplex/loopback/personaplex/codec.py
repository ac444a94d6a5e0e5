"""AudioReader and AudioWriter: the model's codec at 24 kHz mono, as bytes on the wire."""

import struct

from discordplex.audio.format import MODEL, MODEL_STEP_MS
from discordplex.audio.opus import OpusDecoder, OpusEncoder
from discordplex.errors import RemoteProtocolError
from discordplex.loopback.personaplex.ogg import BOS, OggStreamError, PageReader, write_page

STEP_BYTES = MODEL.bytes_of_ms(MODEL_STEP_MS)
"""One model step of PCM, in and out."""

EMPTY_PACKET_CONCEALMENT_MS = 10_000
"""What sphn 0.1.12 makes of a packet of no bytes: ten seconds of permanent lag."""

SERIAL = 42
PRE_SKIP = 3840
"""Both as sphn writes them. Nobody trims the pre-skip: the true lookahead is 312 samples at 48 kHz."""


class AudioReader:
    """What the server hears: OggOpus bytes to PCM. Raises OggStreamError where the real reader fails."""

    def __init__(self) -> None:
        self._pages = PageReader()
        self._decoder = OpusDecoder(MODEL.rate_hz, MODEL.channels)

    def feed(self, ogg: bytes) -> bytes:
        """The PCM that is now complete."""
        return b"".join(map(self._decode, self._pages.feed(ogg)))

    def _decode(self, packet: bytes) -> bytes:
        if not packet:
            return bytes(MODEL.bytes_of_ms(EMPTY_PACKET_CONCEALMENT_MS))
        try:
            return self._decoder.decode(packet)
        except RemoteProtocolError:
            raise OggStreamError("an Opus packet is corrupt") from None


class AudioWriter:
    """What the server says: model steps of PCM to the OggOpus bytes of each message.

    NVIDIA's server puts one 80 ms packet on one page; with `packets_per_step=2`, as moshi 0.2.13, two of 40 ms on two pages of one message.
    """

    def __init__(self, packets_per_step: int = 1) -> None:
        self._encoder = OpusEncoder(MODEL.rate_hz, MODEL.channels, bitrate=None, application="voip", fec=False)
        self._packets_per_step = packets_per_step
        self._number = 0
        self._granule = 0

    def headers(self) -> list[bytes]:
        """The two pages that open the stream: 47 and 53 bytes."""
        head = b"OpusHead" + struct.pack("<BBHIhB", 1, MODEL.channels, PRE_SKIP, MODEL.rate_hz, 0, 0)
        tags = b"OpusTags" + struct.pack("<I", 9) + b"discordpx" + struct.pack("<I", 0)
        return [self._page(head, BOS), self._page(tags, 0)]

    def encode(self, pcm: bytes) -> bytes:
        """The pages of one model step."""
        size = STEP_BYTES // self._packets_per_step
        return b"".join(self._audio_page(pcm[start : start + size]) for start in range(0, STEP_BYTES, size))

    def _audio_page(self, pcm: bytes) -> bytes:
        # Counted in samples of the input's rate: wrong for 24 kHz, but what sphn 0.1.12 writes.
        self._granule += len(pcm) // MODEL.sample_bytes
        return self._page(self._encoder.encode(pcm), 0)

    def _page(self, packet: bytes, flags: int) -> bytes:
        page = write_page([packet], flags=flags, granule=self._granule, serial=SERIAL, number=self._number)
        self._number += 1
        return page
