"""WAV files to ENGINE PCM, and mono PCM to WAV files. It works on whole files, not for real time."""

import io
import itertools
import wave
from math import gcd
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from discordplex.audio.format import ENGINE, SAMPLE_BYTES
from discordplex.audio.samples import pcm_of
from discordplex.audio.wavreader import WavReader
from discordplex.errors import ConfigError, RemoteProtocolError

_HALF_TAPS: Final = 32
"""Zero crossings of the resampling filter's sinc on each side."""
_KAISER_BETA: Final = 9.0
_PASS_BAND: Final = 0.92
"""The pass band, as a part of the lower rate's Nyquist frequency. Just beyond it, the filter attenuates by 90 dB."""
_RATES_HZ: Final = range(8_000, 384_001)
_PIECE_BYTES: Final = 1 << 20


def read_wav(path: str | Path) -> bytes:
    """The sound of a WAV file as ENGINE PCM: channels averaged, resampled, rounded. Joined files are read one after the other.

    Raises ConfigError if it cannot be read, because a person named the file.
    """
    reader = WavReader()
    try:
        with Path(path).open("rb") as file:
            runs = [run for piece in iter(lambda: file.read(_PIECE_BYTES), b"") for run in reader.feed(piece)]
        runs += reader.finish()
    except FileNotFoundError:
        raise ConfigError(f"{path} cannot be read: there is no such file.") from None
    except (OSError, RemoteProtocolError) as fault:
        raise ConfigError(f"{path} cannot be read as a WAV file ({fault}). Integers of 8 to 32 bit and floats are understood.") from fault
    made = []
    for rate_hz, run in itertools.groupby(runs, key=lambda run: run[0]):
        if rate_hz not in _RATES_HZ:
            raise ConfigError(f"{path} has {rate_hz} samples a second; 8000 to 384000 are understood.")
        samples = np.concatenate([part for _, part in run]).astype(np.float64)
        made.append(pcm_of(resample(samples, rate_hz, ENGINE.rate_hz).astype(np.float32)))
    return b"".join(made)


def wav_of(pcm: bytes, rate_hz: int) -> bytes:
    """A complete WAV file with this mono int16 PCM."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return target.getvalue()


def resample(samples: NDArray[np.float64], from_hz: int, to_hz: int) -> NDArray[np.float64]:
    """The whole signal at another rate, linear-phase and without delay: sample n is the signal at n / `to_hz`."""
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
    for phase in range(up):  # outputs of one phase have the same position between input samples, and the same taps
        start, rest = divmod(phase * down, up)
        outputs = len(range(phase, count, up))
        made[phase::up] = windows[start::down][:outputs] @ _sinc_taps(rest / up, reach, cutoff)
    return made


def _sinc_taps(fraction: float, reach: int, cutoff: float) -> NDArray[np.float64]:
    """The weights of the input samples around a position `fraction` after one of them."""
    distance = np.arange(-reach, reach + 1) - fraction
    inside = np.clip(1 - (distance / (reach + 1)) ** 2, 0, None)
    taps = cutoff * np.sinc(cutoff * distance) * np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA)
    return np.asarray(taps / taps.sum())
