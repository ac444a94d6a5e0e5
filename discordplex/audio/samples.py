"""PCM bytes as numbers, and back."""

import math

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32_768.0
"""The largest magnitude of an int16 sample; 1.0 as float."""


INT16 = np.dtype("<i2")
"""The type of PCM samples, made once, because parsing its name for each frame takes longer than the view itself."""


def int16_of(pcm: bytes) -> NDArray[np.int16]:
    """The samples of `pcm`, read-only and without a copy."""
    return np.frombuffer(pcm, INT16)


def peak_of(pcm: bytes) -> int:
    """The largest magnitude in `pcm`; 0 if it is empty. It uses the ufuncs directly, which are faster than the array methods."""
    samples = int16_of(pcm)
    return max(int(np.maximum.reduce(samples)), -int(np.minimum.reduce(samples))) if len(samples) else 0


def rms_of(pcm: bytes) -> float:
    """The root mean square of `pcm`; 1.0 is full scale, 0.0 if it is empty. Measured: 6 us for a frame."""
    samples = int16_of(pcm).astype("f4")
    return math.sqrt(float(samples @ samples) / len(samples)) / FULL_SCALE if len(samples) else 0.0


def float_of(pcm: bytes) -> NDArray[np.float32]:
    """The samples of `pcm` as float32, from -1.0 to 1.0."""
    samples = int16_of(pcm).astype(np.float32)
    samples *= 1 / FULL_SCALE
    return samples


def pcm_of(samples: NDArray[np.float32]) -> bytes:
    """float32 from -1.0 to 1.0 as PCM, rounded; louder samples are clipped, not wrapped."""
    scaled = samples * FULL_SCALE
    np.rint(scaled, out=scaled)
    np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1, out=scaled)
    return bytes(scaled.astype(INT16).tobytes())
