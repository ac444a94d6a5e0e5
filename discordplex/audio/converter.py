"""Conversion between 48 and 24 kHz, stereo and mono: from Discord's format to an engine's, and back.

The path to and from PersonaPlex needs none of it (Opus itself decodes at either rate); engines that take raw PCM do.

Converting a signal in pieces gives the same samples as converting it whole: the filters carry their state, and their sums are sums of
whole numbers below 2**53 held in float64, which are exact in whatever order they are added. Measured per 20 ms: downmix 3 to 8 us,
upmix 3 us, down 25 us, up 15 us.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from discordplex.audio.format import DISCORD
from discordplex.audio.samples import int16_of

SCALE_BITS: Final = 24
SIDE: Final = (
    5_336_299,
    -1_767_981,
    1_047_951,
    -734_970,
    557_842,
    -442_646,
    360_983,
    -299_622,
    251_576,
    -212_811,
    180_836,
    -154_029,
    131_287,
    -111_832,
    95_093,
    -80_642,
    68_146,
    -57_339,
    48_005,
    -39_962,
    33_054,
    -27_148,
    22_123,
    -17_874,
    14_305,
    -11_330,
    8_872,
    -6_859,
    5_229,
    -3_923,
    2_891,
    -2_087,
    1_471,
    -1_008,
    667,
    -422,
    252,
    -139,
    66,
    -24,
)
"""The half-band filter of both directions, from its middle outwards: `firwin(159, 0.5, window=("kaiser", 10))` times 2**24.

Every second tap of a half-band filter is zero, so 159 taps cost 80. The pass band reaches 11 kHz; with 127 ordinary taps it would end at 9.
From 13 kHz on the filter attenuates by 99 dB, below the last bit of an int16. It delays by 79 samples at 48 kHz, 1.65 ms.
"""

_EVEN: Final = np.array([*reversed(SIDE), *SIDE], dtype=np.float64)
_MIDDLE: Final = float(1 << (SCALE_BITS - 1))
_REACH: Final = len(SIDE)

_CANCELLED: Final = 0.05
"""Left and right cancel if the power of their mean is below this part of the left's (-13 dB). For unrelated signals it is half."""


class Downsampler:
    """48 kHz int16 in, 24 kHz mono int16 out. One stream, one thread at a time.

    Channels are averaged. If one may be inverted, use `downmix` first.
    """

    def __init__(self, channels: int = DISCORD.channels) -> None:
        self._channels = channels
        self._rest = b""
        self._even = np.zeros(2 * _REACH - 1)
        self._odd = np.zeros(_REACH)

    def convert(self, pcm: bytes) -> bytes:
        """Take PCM of any length; returns every complete output sample."""
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % (4 * self._channels)
        self._rest = pcm[whole:]
        if not whole:
            return b""
        mono = int16_of(pcm[:whole]).reshape(-1, self._channels).sum(axis=1, dtype=np.float64)
        even = np.concatenate([self._even, mono[::2]])
        odd = np.concatenate([self._odd, mono[1::2]])
        self._even, self._odd = even[1 - 2 * _REACH :], odd[-_REACH:]
        filtered = np.correlate(even, _EVEN, "valid") + _MIDDLE * odd[:-_REACH]
        return _int16(filtered, SCALE_BITS, self._channels).tobytes()


class Upsampler:
    """24 kHz mono int16 in, 48 kHz int16 out, the same in each channel. One stream, one thread at a time."""

    def __init__(self, channels: int = DISCORD.channels) -> None:
        self._channels = channels
        self._rest = b""
        self._past = np.zeros(2 * _REACH - 1)

    def convert(self, pcm: bytes) -> bytes:
        """Take PCM of any length; returns two output samples for each whole input sample."""
        pcm = self._rest + pcm
        whole = len(pcm) // 2 * 2
        self._rest = pcm[whole:]
        if not whole:
            return b""
        mono = np.concatenate([self._past, int16_of(pcm[:whole])])
        self._past = mono[1 - 2 * _REACH :]
        made = np.empty((whole // 2, 2, self._channels), dtype="<i2")
        made[:, 0, :] = _int16(np.correlate(mono, _EVEN, "valid"), SCALE_BITS - 1, 1)[:, np.newaxis]
        made[:, 1, :] = mono[_REACH : -_REACH + 1].astype("<i2")[:, np.newaxis]
        return made.tobytes()


def downmix(stereo: bytes) -> bytes:
    """Stereo to mono: the mean; only the left if left and right cancel each other, as with an inverted microphone cable.

    It decides once for all of `stereo`, so call it for each frame.
    """
    # Compare bytes first: most people have one microphone, and the check with numpy costs more than everything else here.
    channels = memoryview(stereo).cast("h")
    alone = channels[::2].tobytes()
    if alone == channels[1::2].tobytes():
        return alone
    both = int16_of(stereo).reshape(-1, 2)
    left, right = both[:, 0], both[:, 1]
    mean = (left.astype(np.float32) + right) * np.float32(0.5)
    power = np.square(left, dtype=np.float32).sum()
    if float(mean @ mean) < _CANCELLED * float(power):
        return alone
    return bytes(mean.astype("<i2").tobytes())


def upmix(mono: bytes) -> bytes:
    """Mono to stereo: each sample twice."""
    return int16_of(mono).repeat(2).tobytes()


def _int16(sums: NDArray[np.float64], bits: int, channels: int) -> NDArray[np.int16]:
    """Sums of samples times taps, as int16: rounded, and clipped instead of wrapped."""
    sums /= (1 << bits) * channels
    np.rint(sums, out=sums)
    np.clip(sums, -32_768, 32_767, out=sums)
    return sums.astype("<i2")
