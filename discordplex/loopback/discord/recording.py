"""A WAV file as the frames' format: 48 kHz mono int16, whatever its rate and channels. Pure but for reading the file."""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from discordplex.audio.format import ENGINE, SAMPLE_BYTES
from discordplex.errors import ConfigError


def load_speech(path: Path) -> bytes:
    """ENGINE PCM of a 16-bit WAV file: its channels' mean, resampled as a whole (band-limited, so nothing folds over).

    Raises ConfigError, in words, for a file that cannot be read or is no 16-bit WAV.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != SAMPLE_BYTES:
                raise ConfigError(f"{path} is not a 16-bit WAV file; convert it, for instance with `ffmpeg -i IN -c:a pcm_s16le OUT.wav`.")
            rate_hz, channels = file.getframerate(), file.getnchannels()
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float64)
    except OSError as fault:
        raise ConfigError(f"{path} cannot be read: {fault.strerror or fault}.") from fault
    except (wave.Error, EOFError) as fault:
        raise ConfigError(f"{path} is not a WAV file ({fault}).") from fault
    mono = samples[: len(samples) // channels * channels].reshape(-1, channels).mean(axis=1)
    return bytes(np.clip(np.rint(_resampled(mono, rate_hz)), -32768, 32767).astype("<i2").tobytes())


def _resampled(mono: npt.NDArray[np.float64], rate_hz: int) -> npt.NDArray[np.float64]:
    if rate_hz == ENGINE.rate_hz or not len(mono):
        return mono
    length = round(len(mono) * ENGINE.rate_hz / rate_hz)
    spectrum = np.fft.rfft(mono)
    wanted = np.zeros(length // 2 + 1, dtype=complex)
    common = min(len(spectrum), len(wanted))
    wanted[:common] = spectrum[:common]
    return np.fft.irfft(wanted, length) * (length / len(mono))
