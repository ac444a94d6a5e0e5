"""sphn behind two small classes, for both of its APIs.

0.1 writes into a buffer that `read_bytes` empties a page at a time, and decodes on a thread of its own; 0.2 returns what it has made.
Both hold the GIL, and neither trims the pre-skip on reading.
"""

import importlib
import importlib.util
import time
from typing import Any, Final

import numpy as np

from discordplex.audio.ogg import PageWriter
from discordplex.audio.oggheaders import head_packet, tags_packet
from discordplex.audio.opus import packet_samples
from discordplex.audio.samples import float_of, pcm_of
from discordplex.errors import RemoteProtocolError

AVAILABLE: Final = importlib.util.find_spec("sphn") is not None
"""sphn has no wheel for Linux arm64, Intel Macs and musl."""
sphn: Any = importlib.import_module("sphn") if AVAILABLE else None

PACKET_MS: Final = {48_000: 20}
"""Rate -> length of the packets that both APIs make of it. At 24 kHz they differ, so there libopus serves."""

_PATIENCE_S: Final = 0.02
"""0.1's thread decodes a packet in 40 us; one that does not come in this time is taken for lost. The loop waits with it."""


class SphnPages:
    """PCM of one packet in, pages out, headers before the first: mono, VOIP, the bitrate that libopus chooses."""

    def __init__(self, rate_hz: int, library: Any = sphn) -> None:
        self._writer = library.OpusStreamWriter(rate_hz)
        self._buffers = hasattr(self._writer, "read_bytes")

    def encode(self, pcm: bytes) -> bytes:
        """The pages that this packet completes."""
        pages: bytes | None = self._writer.append_pcm(float_of(pcm))
        if not self._buffers:
            return pages or b""
        found = bytearray()
        while page := self._writer.read_bytes():
            found += page
        return bytes(found)


class SphnPackets:
    """Packets in, PCM out. sphn reads pages only, so each packet gets one: a clean stream that holds nothing but what it can read."""

    def __init__(self, rate_hz: int, library: Any = sphn) -> None:
        self._rate_hz = rate_hz
        self._library = library
        self._open()

    def decode(self, packet: bytes) -> bytes:
        """The packet's PCM. RemoteProtocolError where it is corrupt; the next one is decoded by a new reader."""
        expected = packet_samples(packet, self._rate_hz)
        try:
            found = self._decoded(self._pages.page([packet], granule=0), expected)
        except Exception as fault:  # sphn raises what its version happens to raise; the packet is to blame
            self._open()
            raise RemoteProtocolError(f"an Opus packet is corrupt: {fault}") from fault
        return pcm_of(found)

    def _open(self) -> None:
        self._pages = PageWriter(serial=1)
        self._reader = self._library.OpusStreamReader(self._rate_hz)
        self._threaded = hasattr(self._reader, "read_pcm")
        self._reader.append_bytes(self._pages.page([head_packet(rate_hz=self._rate_hz, pre_skip=0)], granule=0, bos=True))
        self._reader.append_bytes(self._pages.page([tags_packet()], granule=0))

    def _decoded(self, page: bytes, expected: int) -> Any:
        """What the page holds. 0.1 is asked until its thread has decoded it, so that nothing waits for the next page."""
        pcm = self._reader.append_bytes(page)
        if not self._threaded:
            return pcm
        pieces: list[Any] = []
        deadline = time.perf_counter() + _PATIENCE_S
        while sum(map(len, pieces)) < expected and time.perf_counter() < deadline:
            piece = self._reader.read_pcm()
            if piece is None:
                raise RemoteProtocolError("sphn's reader has ended")
            pieces.append(piece)
        return np.concatenate(pieces)
