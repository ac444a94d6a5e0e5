"""Ramps, so that joins, ends and changes of level do not click."""

from typing import Final

import numpy as np

from discordplex.audio.format import ENGINE
from discordplex.audio.samples import energy_reaches, int16_of

RAMP_SAMPLES: Final = ENGINE.rate_hz * 5 // 1000
"""The length of a ramp, 5 ms: long enough not to click, shorter than any sound of speech."""

QUIET_RMS: Final = 160
"""-46 dB of full scale: breath and the idle noise of codecs are below, speech is above."""

_UP: Final = ((np.arange(RAMP_SAMPLES) + 0.5) / RAMP_SAMPLES).astype(np.float32)
_DOWN: Final = _UP[::-1].copy()


def is_quiet(pcm: bytes) -> bool:
    """Whether it is so quiet that nobody would miss it."""
    return not energy_reaches(pcm, QUIET_RMS**2 * max(1, len(pcm) // ENGINE.sample_bytes))


def crossfade(leaving: bytes, coming: bytes) -> bytes:
    """`coming`, with a ramp at its start from `leaving`, which would have been played now. Both are frames."""
    blended = int16_of(leaving)[:RAMP_SAMPLES] * _DOWN + int16_of(coming)[:RAMP_SAMPLES] * _UP
    return bytes(blended.astype("<i2").tobytes()) + coming[RAMP_SAMPLES * ENGINE.sample_bytes :]


class Crossfade:
    """From one sound to another over the length of a block: `leaving` falls, what comes rises."""

    def __init__(self, leaving: bytes) -> None:
        self._leaving = int16_of(leaving).astype(np.float32)
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Whether all of `leaving` was used."""
        return self._at >= len(self._leaving)

    def into(self, coming: bytes) -> bytes:
        """The next samples of the other sound, with what is left of `leaving` mixed into their beginning."""
        samples = int16_of(coming).astype(np.float32)
        leaving = self._leaving[self._at : self._at + len(samples)]
        rise = (np.arange(self._at, self._at + len(leaving), dtype=np.float32) + 0.5) / len(self._leaving)
        samples[: len(leaving)] = samples[: len(leaving)] * rise + leaving * (1 - rise)
        self._at += len(leaving)
        return bytes(samples.astype("<i2").tobytes())


def fade_in(frame: bytes) -> bytes:
    """`frame` with a ramp from silence at its start."""
    ramped = int16_of(frame)[:RAMP_SAMPLES] * _UP
    return bytes(ramped.astype("<i2").tobytes()) + frame[RAMP_SAMPLES * ENGINE.sample_bytes :]


def fade_out(last: bytes) -> bytes:
    """A frame that fades `last` out: the end of `last` again, backwards and falling, then silence.

    Backwards, because the wave then continues from where it stopped.
    """
    tail = int16_of(last)[: -RAMP_SAMPLES - 1 : -1] * _DOWN
    return bytes(tail.astype("<i2").tobytes()).ljust(ENGINE.frame_bytes, b"\0")


def with_gain(frame: bytes, before: float, now: float) -> bytes:
    """`frame` with the gain `now` (0.0 to 1.0). A lower gain than `before` is reached in 5 ms, a higher one over the whole frame."""
    if before == now == 1.0:
        return frame
    samples = int16_of(frame)
    ramp = len(samples) if now > before else min(RAMP_SAMPLES, len(samples))
    factors = np.full(len(samples), now, dtype=np.float32)
    factors[:ramp] = np.linspace(before, now, ramp, dtype=np.float32)
    return bytes((samples * factors).astype("<i2").tobytes())
