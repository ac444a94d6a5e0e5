"""WAV files to ENGINE PCM and back, for the demo, the loopback and the tests. Reads files whole: nothing for the hot path."""

import wave
from math import gcd
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from discordplex.audio.format import ENGINE, SAMPLE_BYTES, AudioFormat
from discordplex.audio.samples import pcm_of
from discordplex.errors import ConfigError, DiscordplexError

_HALF_TAPS: Final = 32
"""Zero crossings of the resampling filter's sinc on each side."""
_KAISER_BETA: Final = 9.0
_PASS_BAND: Final = 0.92
"""Of the lower rate's Nyquist frequency; with the taps and the window above the rest fades to -90 dB just beyond it."""
_RATES_HZ: Final = range(8_000, 384_001)


def read_wav(path: str | Path) -> bytes:
    """A WAV file's sound as ENGINE PCM: channels averaged, resampled, rounded.

    Raises ConfigError, since a person named the file, where it cannot be read.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate_hz, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except FileNotFoundError:
        raise ConfigError(f"{path} cannot be read: there is no such file.") from None
    except (OSError, EOFError, wave.Error) as fault:
        raise ConfigError(f"{path} cannot be read as a WAV file ({str(fault) or 'it ends too early'}). Plain PCM is understood.") from fault
    if rate_hz not in _RATES_HZ:
        raise ConfigError(f"{path} has {rate_hz} samples a second; 8000 to 384000 are understood.")
    whole = len(data) - len(data) % (width * channels)
    mono = _floats(data[:whole], width).reshape(-1, channels).mean(axis=1)
    return pcm_of(resample(mono, rate_hz, ENGINE.rate_hz).astype(np.float32))


def write_wav(path: str | Path, pcm: bytes, audio_format: AudioFormat = ENGINE) -> None:
    """Write int16 PCM of `audio_format` as a WAV file. DiscordplexError where that fails."""
    try:
        with Path(path).open("wb") as target, wave.open(target, "wb") as file:
            file.setnchannels(audio_format.channels)
            file.setsampwidth(SAMPLE_BYTES)
            file.setframerate(audio_format.rate_hz)
            file.writeframes(pcm)
    except OSError as fault:
        raise DiscordplexError(f"{path} cannot be written: {fault.strerror}.") from fault


def resample(samples: NDArray[np.float64], from_hz: int, to_hz: int) -> NDArray[np.float64]:
    """The whole signal at another rate, linear-phase and without delay: sample n of the result is the signal at n / `to_hz`."""
    if from_hz == to_hz or not len(samples):
        return samples
    common = gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    count = -(-len(samples) * up // down)
    cutoff = _PASS_BAND * min(1.0, to_hz / from_hz)
    reach = int(np.ceil(_HALF_TAPS / cutoff))
    padded = np.concatenate([np.zeros(reach), samples, np.zeros(reach + 1)])
    windows = sliding_window_view(padded, 2 * reach + 1)
    made = np.empty(count)
    for phase in range(up):  # outputs of one phase lie at the same fraction between input samples, and share their taps
        start, rest = divmod(phase * down, up)
        outputs = len(range(phase, count, up))
        made[phase::up] = windows[start::down][:outputs] @ _sinc_taps(rest / up, reach, cutoff)
    return made


def _sinc_taps(fraction: float, reach: int, cutoff: float) -> NDArray[np.float64]:
    """Weights of the input samples around a place `fraction` behind one of them."""
    distance = np.arange(-reach, reach + 1) - fraction
    inside = np.clip(1 - (distance / (reach + 1)) ** 2, 0, None)
    taps = cutoff * np.sinc(cutoff * distance) * np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA)
    return np.asarray(taps / taps.sum())


def _floats(data: bytes, width: int) -> NDArray[np.float64]:
    """Samples of 8 (unsigned), 16, 24 or 32 bits as -1.0 to 1.0."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:  # noqa: PLR2004  # three bytes, widened to four with the low one zero
        widened = np.zeros((len(data) // 3, 4), np.uint8)
        widened[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, width = widened.tobytes(), 4
    return np.frombuffer(data, f"<i{width}").astype(np.float64) / float(1 << (8 * width - 1))
