"""Resampling from any usual rate to any other: for detectors, and for what speech servers send.

Converting a signal in pieces gives the same samples as converting it whole: the taps are whole numbers, so are the sums, and float64 holds
them exactly in whatever order they are added. Between 48 and 24 kHz `converter.py` does the same for a fraction of the work.
"""

import functools
import math
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from discordplex.audio.format import SAMPLE_BYTES
from discordplex.audio.samples import int16_of
from discordplex.errors import LocalProtocolError

_REACH: Final = 32
"""Zero crossings on each side of the filter's middle. With the window below, it falls by 80 dB within 8 % of the lower rate."""
_KAISER_BETA: Final = 8.0
_EDGE: Final = 0.48
"""The middle of the filter's edge, as a part of the lower rate: from 0.52 on nothing is left to alias."""
_SCALE: Final = float(1 << 22)
_MOST_PHASES: Final = 1000
"""44.1 kHz to 48 needs 160, 11.025 needs 640; a rate that needs more is a mistake."""


class Resampler:
    """Mono int16 of one rate in, of another rate out. One stream, one thread at a time.

    It delays by 31.5 samples of the lower rate (95.5 samples at 48 kHz on the way to 16). Measured per 20 ms: 30 us from 48 to 16 kHz,
    130 us from 22.05 to 48.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        """Raises LocalProtocolError for two rates that would need more than `_MOST_PHASES` phases."""
        common = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        if self._up > _MOST_PHASES:
            raise LocalProtocolError(f"{from_hz} Hz cannot be resampled to {to_hz} Hz")
        self._phases = phases(self._up, self._down)
        self._length = self._phases.shape[1]
        self._held = np.zeros(self._length - 1)
        self._rest = b""
        self._offset = 0
        """The position of the next output sample, in steps of the common rate, from the first buffered input sample."""

    def convert(self, pcm: bytes) -> bytes:
        """Take PCM of any length, also odd; returns every complete output sample."""
        pcm = self._rest + pcm
        whole = len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES
        self._rest = pcm[whole:]
        signal = np.concatenate([self._held, int16_of(pcm[:whole])])
        fresh = len(signal) - self._length + 1
        places = np.arange(self._offset, fresh * self._up, self._down)
        if not len(places):
            self._held = signal
            return b""
        windows = sliding_window_view(signal, self._length)
        if self._up == 1:
            sums = windows[self._offset : fresh : self._down] @ self._phases[0]
        else:
            sums = np.einsum("ij,ij->i", windows[places // self._up], self._phases[places % self._up])
        after = int(places[-1]) + self._down
        used = min(after // self._up, fresh)
        self._held = signal[used:]
        self._offset = after - used * self._up
        return bytes(np.clip(np.rint(sums / _SCALE), -32_768, 32_767).astype("<i2").tobytes())


@functools.lru_cache(maxsize=16)
def phases(up: int, down: int) -> NDArray[np.float64]:
    """The taps of the low-pass filter: one row for each position of an output sample between two input samples, the oldest sample first."""
    reach = math.ceil(_REACH * max(1.0, down / up))
    grid = (np.arange(2 * reach) - reach + 1)[np.newaxis, ::-1] + (np.arange(up) / up - 0.5)[:, np.newaxis]
    width = 2 * _EDGE * min(1.0, up / down)
    shape = np.sinc(grid * width) * np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (grid / reach) ** 2, 0, 1)))
    rows = np.rint(shape / shape.sum(axis=1, keepdims=True) * _SCALE)
    rows.setflags(write=False)
    return np.asarray(rows, dtype=np.float64)
