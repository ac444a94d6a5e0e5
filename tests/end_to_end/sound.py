"""The clip that people say in whole calls, and how what is heard is compared with it."""

from pathlib import Path
from typing import TypeAlias

import numpy as np

from discordplex.audio.format import ENGINE
from tests.audio.signals import samples

CLIP = Path(__file__).parents[2] / "discordplex" / "demo" / "hello.wav"
SECOND = ENGINE.rate_hz
LOUD = 500
Signal: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"


def lag_samples(heard: bytes, said: bytes) -> int:
    """By how many samples `heard` comes after `said`, by their cross-correlation."""
    first, second = samples(heard), samples(said)
    size = 1 << (len(first) + len(second) - 1).bit_length()
    spectrum = np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size))
    found = int(np.argmax(np.fft.irfft(spectrum, size)))
    return found - size if found > size // 2 else found


def heard_up_to_ms(heard: bytes, reply: bytes) -> float:
    """At which place of `reply` the last sound in `heard` ends: its last 200 ms are found there. Both are ENGINE PCM."""
    sound = samples(heard)
    end = int(np.flatnonzero(np.abs(sound) > LOUD)[-1]) + 1
    piece = sound[end - SECOND // 5 : end]
    return (best_lag(samples(reply), piece) + len(piece)) / SECOND * 1000


def best_lag(window: Signal, piece: Signal) -> int:
    """Where in `window` the sound of `piece` is found: the largest correlation, each place measured by its own loudness."""
    size = 1 << (len(window) + len(piece)).bit_length()
    product = np.fft.irfft(np.fft.rfft(window, size) * np.conj(np.fft.rfft(piece, size)), size)[: len(window) - len(piece) + 1]
    energy = np.cumsum(np.concatenate([[0.0], window**2]))
    return int(np.argmax(product / np.sqrt(energy[len(piece) :] - energy[: -len(piece)] + 1.0)))


def level_db(pcm: bytes) -> float:
    """RMS of the samples above the noise floor, in dB of full scale."""
    loud = samples(pcm)
    loud = loud[np.abs(loud) > 50]
    return float(20 * np.log10(np.sqrt(np.mean(loud**2)) / 32768)) if len(loud) else -120.0
