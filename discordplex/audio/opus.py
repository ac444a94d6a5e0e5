"""Opus packets to PCM and back, with forward error correction and concealment.

Measured on one core, speech, per 20 ms frame of 48 kHz stereo: decoding 25 to 40 us; encoding 50 us (CELT), and twice that if
`expected_loss_percent` is over 0: then libopus uses hybrid packets, which can have FEC.
"""

import ctypes
from typing import Final, Literal

from discordplex.audio import libopus
from discordplex.audio.format import SAMPLE_BYTES
from discordplex.errors import LocalProtocolError, RemoteProtocolError

SILENCE_PACKET: Final = b"\xf8\xff\xfe"
"""20 ms of digital silence. On Discord, five of them end a stretch of speech."""

Application = Literal["audio", "voip", "lowdelay"]

LIGHT: Final = 2
"""A complexity for who encodes all the time: how hard libopus searches, 0 to 10; its own choice is 9. What is not searched for costs bits
instead: stereo speech at 128 kbit/s with 2 has a segmental SNR of 28.0 dB in 52 us a frame, at 96 kbit/s with 9 one of 27.3 dB in 94 us
(measured; below 1 there are no short blocks, and a plosive is heard before it comes)."""


def packet_samples(packet: bytes, rate_hz: int = 48_000) -> int:
    """Samples per channel of `packet` at `rate_hz`. Raises RemoteProtocolError if it is no Opus packet."""
    if not packet:
        raise RemoteProtocolError("an Opus packet is empty")
    samples: int = libopus.packet_get_nb_samples(packet, len(packet), rate_hz)
    if samples <= 0:
        raise RemoteProtocolError(f"an Opus packet cannot be read: {libopus.explain(samples)}")
    return samples


class OpusDecoder:
    """The decoder of one stream. It keeps the stream's state: one decoder per speaker, one thread at a time."""

    def __init__(self, rate_hz: int = 48_000, channels: int = 2) -> None:
        self._sample_bytes = SAMPLE_BYTES * channels
        self._room_samples = rate_hz * libopus.MAX_PACKET_MS // 1000
        self._pcm = (ctypes.c_int16 * (self._room_samples * channels))()
        self._decoded = memoryview(self._pcm).cast("B")
        self._state = libopus.state(libopus.decoder_get_size(channels))
        libopus.check(libopus.decoder_init(self._state, rate_hz, channels), f"decode {rate_hz} Hz with {channels} channels")

    def decode(self, packet: bytes) -> bytes:
        """The packet's PCM, 2.5 to 120 ms. Raises RemoteProtocolError if it is corrupt; the decoder can still be used."""
        if not packet:  # libopus would treat it as a lost packet and conceal as much as fits
            raise RemoteProtocolError("an Opus packet is empty")
        return self._taken(libopus.decode(self._state, packet, len(packet), self._pcm, self._room_samples, 0))

    def conceal(self, next_packet: bytes | None = None, samples: int = 960) -> bytes:
        """Replace `samples` lost samples per channel: with the FEC in `next_packet`, if there is any, else extrapolated.

        Then decode `next_packet` as usual. `samples` is a multiple of 2.5 ms and at most 120 ms.
        """
        if not 0 < samples <= self._room_samples:
            raise LocalProtocolError(f"cannot conceal {samples} samples at once")
        if next_packet:
            recovered = libopus.decode(self._state, next_packet, len(next_packet), self._pcm, samples, 1)
            if recovered > 0:  # without FEC, libopus has extrapolated; a corrupt packet continues below
                return self._taken(recovered)
        return self._taken(libopus.check(libopus.decode(self._state, None, 0, self._pcm, samples, 0), f"conceal {samples} samples"))

    def _taken(self, samples: int) -> bytes:
        if samples < 0:
            raise RemoteProtocolError(f"an Opus packet is corrupt: {libopus.explain(samples)}")
        return self._decoded[: samples * self._sample_bytes].tobytes()


class OpusEncoder:
    """The encoder of one stream. One thread at a time.

    With `fec`, a packet with speech also has the one before in low quality, but only if `expected_loss_percent` is over 0: at 0 libopus
    uses CELT packets, which cannot have FEC (measured at 64 and 128 kbit/s). "lowdelay" is always CELT.
    """

    def __init__(
        self,
        rate_hz: int = 48_000,
        channels: int = 2,
        *,
        bitrate: int | None = 64_000,
        application: Application = "audio",
        fec: bool = True,
        expected_loss_percent: int = 5,
        complexity: int | None = None,
        highest_hz: int | None = None,
    ) -> None:
        """`bitrate` (bits per second) and `complexity`: None lets libopus choose. No frequency above `highest_hz` is coded.

        It is one of `libopus.BANDWIDTHS`.
        """
        self._sample_bytes = SAMPLE_BYTES * channels
        self._packet = ctypes.create_string_buffer(libopus.MAX_PACKET_BYTES)
        self._encoded = memoryview(self._packet).cast("B")
        self._state = libopus.state(libopus.encoder_get_size(channels))
        code = libopus.encoder_init(self._state, rate_hz, channels, libopus.APPLICATIONS[application])
        libopus.check(code, f"encode {rate_hz} Hz with {channels} channels")
        if bitrate is not None:
            self._set(libopus.SET_BITRATE, bitrate)
        if complexity is not None:
            self._set(libopus.SET_COMPLEXITY, complexity)
        if highest_hz is not None:
            self._set(libopus.SET_MAX_BANDWIDTH, libopus.BANDWIDTHS[highest_hz])
        self._set(libopus.SET_INBAND_FEC, int(fec))
        self._set(libopus.SET_PACKET_LOSS_PERC, expected_loss_percent)

    @property
    def lookahead_samples(self) -> int:
        """The delay of the decoded sound after the input, in samples at the encoder's rate."""
        found = ctypes.c_int32()
        libopus.check(libopus.encoder_ctl(self._state, libopus.GET_LOOKAHEAD, ctypes.byref(found)), "tell its lookahead")
        return found.value

    def encode(self, pcm: bytes) -> bytes:
        """Encode a frame of 2.5, 5, 10, 20, 40, 60, 80, 100 or 120 ms as one packet. Raises LocalProtocolError for another length."""
        samples, odd_bytes = divmod(len(pcm), self._sample_bytes)
        if odd_bytes:
            raise LocalProtocolError(f"{len(pcm)} bytes are no whole number of samples")
        size = libopus.encode(self._state, pcm, samples, self._packet, libopus.MAX_PACKET_BYTES)
        if size < 0:
            libopus.check(size, f"encode a frame of {samples} samples")
        return self._encoded[:size].tobytes()

    def _set(self, request: int, value: int) -> None:
        libopus.check(libopus.encoder_ctl(self._state, request, ctypes.c_int32(value)), f"set {request} to {value}")
