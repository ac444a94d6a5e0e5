"""Tests of discordplex.loopback.discord.recording."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from discordplex.errors import ConfigError
from discordplex.loopback.discord.recording import load_speech


def write(path: Path, samples: npt.NDArray[Any], rate_hz: int, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())
    return path


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 44_100, 48_000, 96_000])
def test_any_rate_becomes_48_khz(tmp_path: Path, rate_hz: int) -> None:
    """A tone keeps its pitch, level and length from whatever rate it comes."""
    tone = np.sin(2 * np.pi * 500 * np.arange(rate_hz) / rate_hz) * 10_000
    heard = np.frombuffer(load_speech(write(tmp_path / "a.wav", tone.astype("<i2"), rate_hz)), dtype="<i2")
    assert len(heard) == 48_000
    wanted = np.sin(2 * np.pi * 500 * np.arange(48_000) / 48_000) * 10_000
    assert np.abs(heard - wanted).max() <= 3


def test_stereo_becomes_mono(tmp_path: Path) -> None:
    """Channels are averaged."""
    samples = np.tile(np.array([100, 300], dtype="<i2"), 480)
    assert set(np.frombuffer(load_speech(write(tmp_path / "a.wav", samples, 48_000, channels=2)), dtype="<i2")) == {200}


def test_what_is_no_recording_is_told_in_words(tmp_path: Path) -> None:
    """A missing file, another kind of file and another sample width are sentences."""
    (tmp_path / "text.wav").write_text("hello")
    eight_bit = write(tmp_path / "eight.wav", np.zeros(10, dtype=np.uint8), 8000, width=1)
    for path, sentence in ((tmp_path / "none.wav", "cannot be read"), (tmp_path / "text.wav", "is not a WAV"), (eight_bit, "not a 16-bit")):
        with pytest.raises(ConfigError, match=sentence):
            load_speech(path)
