"""The clip that people say in whole calls, and how what is heard is compared with it."""

from pathlib import Path

import numpy as np

from discordplex.audio.format import ENGINE
from tests.audio.signals import samples

CLIP = Path(__file__).parents[2] / "discordplex" / "demo" / "hello.wav"
SECOND = ENGINE.rate_hz


def lag_samples(heard: bytes, said: bytes) -> int:
    """By how many samples `heard` comes after `said`, by their cross-correlation."""
    first, second = samples(heard), samples(said)
    size = 1 << (len(first) + len(second) - 1).bit_length()
    spectrum = np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size))
    found = int(np.argmax(np.fft.irfft(spectrum, size)))
    return found - size if found > size // 2 else found


def level_db(pcm: bytes) -> float:
    """RMS of the samples above the noise floor, in dB of full scale."""
    loud = samples(pcm)
    loud = loud[np.abs(loud) > 50]
    return float(20 * np.log10(np.sqrt(np.mean(loud**2)) / 32768)) if len(loud) else -120.0
