"""Signals that the tests of the audio room listen to, and how they compare them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]


def tone(seconds: float, *, hz: float = 440.0, rate_hz: int = 48_000, peak: float = 8000.0) -> Samples:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.asarray(peak * np.sin(2 * np.pi * hz * time))


def noise(seconds: float, *, below_hz: float, rate_hz: int = 48_000, peak: float = 12_000.0, seed: int = 1) -> Samples:
    """Noise with nothing above `below_hz`."""
    count = round(seconds * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum[int(below_hz / rate_hz * count) :] = 0
    found = np.fft.irfft(spectrum, count)
    return np.asarray(found / np.abs(found).max() * peak)


def voice(seconds: float, *, rate_hz: int = 48_000, hz: float = 140.0) -> Samples:
    """Something that a codec takes for speech: harmonics under a moving envelope, four syllables a second."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * hz * time + 3 * np.sin(2 * np.pi * 2.5 * time)
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 20))
    return np.asarray(4000 * harmonics * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * time)))


def pcm(samples: Samples) -> bytes:
    return np.rint(samples).clip(-32768, 32767).astype("<i2").tobytes()


def stereo(samples: Samples, right: Samples | None = None) -> bytes:
    return pcm(np.stack([samples, samples if right is None else right], axis=1).reshape(-1))


def samples(data: bytes, channel: int = 0, channels: int = 1) -> Samples:
    return np.frombuffer(data, "<i2").astype(np.float64)[channel::channels]


def frames(data: bytes, frame_bytes: int) -> list[bytes]:
    """The whole frames of `data`."""
    return [data[start : start + frame_bytes] for start in range(0, len(data) - frame_bytes + 1, frame_bytes)]


def snr_db(wanted: Samples, heard: Samples) -> float:
    """How far the difference lies below the wanted signal."""
    fault = float(np.sum((wanted - heard) ** 2))
    return math.inf if fault == 0 else 10 * math.log10(float(np.sum(wanted**2)) / fault)


def best_lag(wanted: Samples, heard: Samples, most: int) -> int:
    """By how many samples `heard` lags behind `wanted`, at most `most`."""
    scores = [float(np.dot(wanted[: len(heard) - most], heard[lag : len(heard) - most + lag])) for lag in range(most)]
    return int(np.argmax(scores))


def level_db(data: Samples, hz: float, rate_hz: int) -> float:
    """The level of one frequency, in dB of a full-scale sine, through a flat-top-like window."""
    window = np.blackman(len(data))
    time = np.arange(len(data)) / rate_hz
    found: Any = np.abs(np.sum(data * window * np.exp(-2j * np.pi * hz * time))) / window.sum() * 2
    return 20 * math.log10(max(float(found), 1e-9) / 32768)
