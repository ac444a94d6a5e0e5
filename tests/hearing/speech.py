"""Real speech for the tests of this room: the clip that the package carries, whole and sentence by sentence."""

import functools
from importlib.resources import as_file, files

import numpy as np

from discordplex.audio.format import ENGINE
from discordplex.audio.wav import read_wav
from discordplex.hearing.segmenter import VAD
from tests.audio.signals import samples


@functools.cache
def clip() -> bytes:
    """The clip as ENGINE PCM: three sentences with seconds of silence after each."""
    with as_file(files("discordplex.demo").joinpath("hello.wav")) as file:
        return read_wav(file)


@functools.cache
def sentences() -> tuple[bytes, ...]:
    """The clip's sentences as ENGINE PCM, each with at most 100 ms of silence around it."""
    frames = samples(b"".join(frames_of(clip()))).reshape(-1, ENGINE.frame_samples)
    loud = np.flatnonzero(np.sqrt((frames**2).mean(axis=1)) > 200)
    groups = np.split(loud, np.flatnonzero(np.diff(loud) * ENGINE.frame_ms > 600) + 1)
    size = ENGINE.frame_bytes
    return tuple(clip()[max(0, int(group[0]) - 5) * size : (int(group[-1]) + 6) * size] for group in groups)


def pause(milliseconds: float) -> bytes:
    """ENGINE silence."""
    return bytes(ENGINE.bytes_of_ms(milliseconds))


def noisy(pcm: bytes, snr_db: float, *, seed: int = 1) -> bytes:
    """`pcm` with white noise so far below the speech in it."""
    clean = samples(pcm)
    speech_power = (samples(b"".join(sentences())) ** 2).mean()
    noise = np.random.default_rng(seed).normal(0, np.sqrt(speech_power / 10 ** (snr_db / 10)), len(clean))
    return bytes(np.clip(clean + noise, -32768, 32767).astype("<i2").tobytes())


def frames_of(pcm: bytes) -> list[bytes]:
    """Whole ENGINE frames, the last one filled with silence."""
    size = ENGINE.frame_bytes
    return [pcm[start : start + size].ljust(size, b"\0") for start in range(0, len(pcm), size)]


def windows_16k(pcm: bytes) -> list[bytes]:
    """ENGINE PCM as VAD windows, by cutting its spectrum: independent of the converter that is under test elsewhere."""
    whole = samples(pcm)[: len(pcm) // 2 // 3 * 3]
    spectrum = np.fft.rfft(whole)[: len(whole) // 6 + 1]
    low = np.fft.irfft(spectrum, len(whole) // 3) / 3
    data = np.clip(np.rint(low), -32768, 32767).astype("<i2").tobytes()
    return [data[start : start + VAD.frame_bytes] for start in range(0, len(data) - VAD.frame_bytes + 1, VAD.frame_bytes)]
