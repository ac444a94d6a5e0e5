"""Speech files of any usual kind become ENGINE PCM."""

import wave
from pathlib import Path

import numpy as np
import pytest

from discordplex.audio.wav import read_wav, resample
from discordplex.errors import DiscordplexError
from tests.audio import wavs
from tests.audio.signals import level_db, noise, pcm, samples, snr_db, stereo, tone


def write_raw(path: Path, data: bytes, *, rate_hz: int, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(data)
    return path


def widened(sound: "np.typing.NDArray[np.float64]", width: int) -> bytes:
    """The signal as a file of `width` bytes a sample holds it."""
    if width == 1:
        return bytes(np.rint(sound / 256 + 128).astype(np.uint8).tobytes())
    scaled = np.rint(sound * 256.0 ** (width - 2)).astype("<i4")
    return b"".join(int(value).to_bytes(width, "little", signed=True) for value in scaled)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
def test_every_usual_rate_is_resampled_well(tmp_path: Path, rate_hz: int) -> None:
    """Noise that the rate can hold is the same noise at 48 kHz, in place, to 70 dB."""
    below_hz = min(rate_hz, 48_000) * 0.42
    low = noise(1.0, below_hz=below_hz, rate_hz=rate_hz)
    found = samples(read_wav(write_raw(tmp_path / "in.wav", pcm(low), rate_hz=rate_hz)))
    assert len(found) == 48_000
    spectrum = np.fft.rfft(np.rint(low))
    ideal = np.fft.irfft(np.concatenate([spectrum, np.zeros(48_000)])[:24_001], 48_000) * 48_000 / rate_hz
    assert snr_db(ideal[2000:-2000], found[2000:-2000]) > 68


@pytest.mark.parametrize(("width", "least_db"), [(1, 35), (2, 75), (3, 80), (4, 80)])
def test_every_usual_width_is_read(tmp_path: Path, width: int, least_db: float) -> None:
    """8, 16, 24 and 32 bits hold the same sound, each to its precision."""
    sound = tone(0.2)
    found = samples(read_wav(write_raw(tmp_path / "in.wav", widened(sound, width), rate_hz=48_000, width=width)))
    assert snr_db(sound, found) > least_db


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("extensible", [False, True])
def test_files_that_the_standard_library_refuses_are_read(tmp_path: Path, *, bits: int, extensible: bool) -> None:
    """Floats, extensible formats and a length of 0, as recorders and web pages write them, on every version of Python."""
    sound = tone(0.2)
    head = wavs.fmt(48_000, tag=wavs.FLOAT, bits=bits, extensible=extensible)
    path = tmp_path / "in.wav"
    path.write_bytes(wavs.form(head, wavs.chunk(b"data", wavs.stored(sound, bits, is_float=True)), size=0))
    assert snr_db(sound, samples(read_wav(path))) > 75


def test_joined_files_are_read_to_their_end(tmp_path: Path) -> None:
    """Two files in one, of different rates, are one sound."""
    path = tmp_path / "in.wav"
    path.write_bytes(wavs.file(pcm(tone(0.1, rate_hz=24_000)), 24_000) + wavs.file(pcm(tone(0.1, rate_hz=16_000)), 16_000))
    assert len(read_wav(path)) == len(pcm(tone(0.2)))


def test_stereo_is_averaged(tmp_path: Path) -> None:
    """Two channels become one."""
    left, right = tone(0.1, hz=300), tone(0.1, hz=900)
    found = samples(read_wav(write_raw(tmp_path / "in.wav", stereo(left, right), rate_hz=48_000, channels=2)))
    assert abs(found - (left + right) / 2).max() <= 1.5


def test_what_48_khz_cannot_hold_does_not_fold_back() -> None:
    """A 30 kHz tone at 96 kHz leaves nothing at 18 kHz."""
    heard = resample(tone(0.5, hz=30_000, rate_hz=96_000), 96_000, 48_000)[1000:-1000]
    assert level_db(heard, 18_000, 48_000) < -85


def test_an_empty_file_is_silence(tmp_path: Path) -> None:
    """No samples are no error."""
    assert read_wav(write_raw(tmp_path / "in.wav", b"", rate_hz=24_000)) == b""


@pytest.mark.parametrize("content", [b"", b"RIFF", b"ID3 no wave at all", b"RIFF\x10\x00\x00\x00WAVEjunk"])
def test_what_is_no_wav_file_is_said_so(tmp_path: Path, content: bytes) -> None:
    """A file that cannot be read raises a sentence that names it."""
    path = tmp_path / "speech.wav"
    path.write_bytes(content)
    with pytest.raises(DiscordplexError, match=r"speech\.wav cannot be read as a WAV file"):
        read_wav(path)


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    """A file that is not there raises a sentence that names it."""
    with pytest.raises(DiscordplexError, match=r"nothing\.wav cannot be read: there is no such file"):
        read_wav(tmp_path / "nothing.wav")


def test_an_absurd_rate_is_refused(tmp_path: Path) -> None:
    """One sample a second is no sound."""
    with pytest.raises(DiscordplexError, match="1 samples a second"):
        read_wav(write_raw(tmp_path / "in.wav", bytes(2), rate_hz=1))
