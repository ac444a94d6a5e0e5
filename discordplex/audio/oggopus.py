"""OggOpus streams: PCM to pages on the way to an engine, pages to PCM on the way from it.

The codec behind the container is sphn where it can be imported, else libopus; both were read by each other in tests. Neither direction
trims the pre-skip, and nor do PersonaPlex and sphn: sample n in is sample n out, later by the encoder's lookahead alone, so that the two
ends count the same time. (sphn declares 3840 samples and means 312; who trims what it declares cuts 73 ms of speech.)

Measured, per 20 ms of speech at 48 kHz mono: sphn encodes in 115 to 220 us and decodes in 32; libopus with "lowdelay" encodes in 64, and it
alone releases the GIL.
"""

import random
from collections.abc import Callable
from typing import Final, Literal, Protocol

from discordplex.audio import sphncodec
from discordplex.audio.format import AudioFormat
from discordplex.audio.frame import Reframer
from discordplex.audio.ogg import PacketReader, PageWriter
from discordplex.audio.oggheaders import head_packet, is_head, is_header, tags_packet
from discordplex.audio.opus import Application, OpusDecoder, OpusEncoder, packet_samples
from discordplex.errors import LocalProtocolError, RemoteProtocolError

Backend = Literal["sphn", "libopus"]

BACKEND: Final[Backend] = "sphn" if sphncodec.AVAILABLE else "libopus"
"""The default codec."""

GRANULE_HZ: Final = 48_000
"""Granule positions and pre-skip are counted at this rate, whatever the encoded rate is (RFC 7845, section 4)."""


class PagesOfPcm(Protocol):
    """PCM of exactly one packet in, pages out, headers before the first."""

    def encode(self, pcm: bytes) -> bytes:
        """The pages that this packet completes."""
        ...


class PcmOfPackets(Protocol):
    """Packets of one stream in, PCM out."""

    def decode(self, packet: bytes) -> bytes:
        """The packet's PCM. Raises RemoteProtocolError if it is corrupt; the next one can be decoded."""
        ...


class OggOpusWriter:
    """One mono stream, from its first page. One thread at a time.

    A peer without the first page cannot read the others: make a new writer for each connection. Drop PCM before `write`, never pages.
    """

    def __init__(
        self,
        rate_hz: int = 48_000,
        *,
        packet_ms: int = 20,
        bitrate: int | None = None,
        application: Application = "voip",
        complexity: int | None = None,
        highest_hz: int | None = None,
        backend: Backend | None = None,
    ) -> None:
        """Other values than the defaults of `packet_ms` to `highest_hz` select libopus. What they mean: `OpusEncoder`."""
        chosen_values = (bitrate, application, complexity, highest_hz)
        plain = sphncodec.PACKET_MS.get(rate_hz) == packet_ms and chosen_values == (None, "voip", None, None)
        chosen = backend or (BACKEND if plain else "libopus")
        if chosen == "sphn" and not plain:
            raise LocalProtocolError(f"sphn cannot make {packet_ms} ms packets of {rate_hz} Hz with chosen bitrate and application")
        self._packets = Reframer(AudioFormat(rate_hz=rate_hz, channels=1, frame_ms=packet_ms))
        self._pages: PagesOfPcm
        if chosen == "sphn":
            self._pages = sphncodec.SphnPages(rate_hz)
        else:
            self._pages = LibopusPages(rate_hz, bitrate=bitrate, application=application, complexity=complexity, highest_hz=highest_hz)

    def write(self, pcm: bytes) -> bytes:
        """Take PCM of any length; returns every complete page, with one packet each, and the two header pages before the first."""
        return b"".join([self._pages.encode(packet) for packet in self._packets.push(pcm)])


PACKET_COST_MS: Final = 10.0
"""The least that a packet counts as: decoding 2.5 ms costs more than a quarter of 10 ms."""
RESTART_COST_MS: Final = 200.0
"""What a new stream counts as, because it gets a new decoder."""
WORK_BYTES_PER_MS: Final = 256
"""How many examined bytes count as a millisecond."""


class TooMuchError(RemoteProtocolError):
    """The stream needs more decoding than `may_decode` allows. Nothing of it was decoded."""


def anything(milliseconds: float) -> bool:  # noqa: ARG001 -- the shape of `may_decode`
    """No limit."""
    return True


class OggOpusReader:
    """Reads one stream after another, from pieces of any size. One thread at a time.

    Before decoding, `may_decode` is called with the cost in milliseconds of sound: the lengths of the packets, which are in their first
    bytes, plus an amount for work without sound. A few bytes can be minutes of sound.

    It needs no header page: in the middle of a stream, it decodes from there. A header page starts a new stream.
    """

    def __init__(self, rate_hz: int = 48_000, *, backend: Backend | None = None, may_decode: Callable[[float], bool] = anything) -> None:
        self._rate_hz = rate_hz
        self._backend = backend or BACKEND
        self._may_decode = may_decode
        self._packets = PacketReader()
        self._kept = b""
        self._open()

    def read(self, pages: bytes) -> bytes:
        """The PCM (mono int16) of every packet that is now complete.

        Raises RemoteProtocolError once for each damaged input; its undamaged part comes with the next call, for example `read(b"")`. Raises
        TooMuchError if `may_decode` refused; then all of it is dropped.
        """
        packets = self._packets.read(pages)
        self._ask(packets)
        pcm = bytearray(self._kept)
        self._kept = b""
        faults = self._packets.take_faults()
        for packet in packets:
            try:
                pcm += self._decoded(packet)
            except RemoteProtocolError as fault:
                faults.append(str(fault))
        if faults:
            self._kept = bytes(pcm)
            raise RemoteProtocolError(f"the engine's audio stream is damaged: {'; '.join(dict.fromkeys(faults))}")
        return bytes(pcm)

    def _ask(self, packets: list[bytes]) -> None:
        """Raise TooMuchError if these packets may not be decoded."""
        # Check their number first, because examining each of 60,000 costs time too.
        least_ms = self._packets.take_work() / WORK_BYTES_PER_MS + PACKET_COST_MS * len(packets)
        if not self._may_decode(least_ms):
            raise TooMuchError(TOO_MUCH)
        if not self._may_decode(sum(map(extra_cost_ms, packets))):
            raise TooMuchError(TOO_MUCH)

    def _decoded(self, packet: bytes) -> bytes:
        if is_head(packet):
            self._open()
        return b"" if is_header(packet) else self._decoder.decode(packet)

    def _open(self) -> None:
        self._decoder: PcmOfPackets
        if self._backend == "sphn":
            self._decoder = sphncodec.SphnPackets(self._rate_hz)
        else:
            self._decoder = OpusDecoder(self._rate_hz, channels=1)


TOO_MUCH: Final = "the engine's audio stream would decode to more than a call can take"


def extra_cost_ms(packet: bytes) -> float:
    """What a packet costs beyond `PACKET_COST_MS`; 0 for one that cannot be decoded."""
    if is_head(packet):
        return RESTART_COST_MS
    try:
        return max(0.0, packet_samples(packet) / 48 - PACKET_COST_MS)
    except RemoteProtocolError:
        return 0.0


class LibopusPages:
    """A mono stream made with libopus and `PageWriter`. It goes over TCP, so it uses no FEC."""

    def __init__(
        self, rate_hz: int, *, bitrate: int | None, application: Application, complexity: int | None, highest_hz: int | None
    ) -> None:
        self._rate_hz = rate_hz
        self._encoder = OpusEncoder(
            rate_hz,
            1,
            bitrate=bitrate,
            application=application,
            fec=False,
            expected_loss_percent=0,
            complexity=complexity,
            highest_hz=highest_hz,
        )
        self._pages = PageWriter(serial=random.getrandbits(32))
        self._granule = 0

    def encode(self, pcm: bytes) -> bytes:
        """One packet on its own page; the header pages come before the first."""
        headers = b"" if self._granule else self._headers()
        self._granule += len(pcm) // 2 * GRANULE_HZ // self._rate_hz
        return headers + self._pages.page([self._encoder.encode(pcm)], granule=self._granule)

    def _headers(self) -> bytes:
        pre_skip = self._encoder.lookahead_samples * GRANULE_HZ // self._rate_hz
        head = self._pages.page([head_packet(rate_hz=self._rate_hz, pre_skip=pre_skip)], granule=0, bos=True)
        return head + self._pages.page([tags_packet()], granule=0)
