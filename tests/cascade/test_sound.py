"""Whatever a speech server sends is played at its own pitch, or refused by name."""

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.format import ENGINE
from discordplex.audio.oggopus import OggOpusWriter
from discordplex.cascade.sound import SpeechSound, UnknownSoundError
from tests.audio import signals
from tests.audio.signals import pcm

HZ = 440


def tone(rate_hz: int, seconds: float = 0.5, hz: float = HZ) -> bytes:
    return pcm(signals.tone(seconds, hz=hz, rate_hz=rate_hz))


def wav(pcm: bytes, rate_hz: int, channels: int = 1) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((channels, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(pcm)
    return target.getvalue()


def float_wav(pcm: bytes, rate_hz: int) -> bytes:
    data = (np.frombuffer(pcm, "<i2").astype("<f4") / 32768).tobytes()
    fmt = struct.pack("<HHIIHH", 3, 1, rate_hz, rate_hz * 4, 4, 32)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data\xff\xff\xff\xff" + data


def opus(pcm: bytes) -> bytes:
    writer = OggOpusWriter(48_000, backend="libopus")
    return writer.write(pcm)


def play(data: bytes, content_type: str = "", piece: int = 4801) -> bytes:
    sound = SpeechSound(content_type)
    heard = b"".join(pcm for start in range(0, len(data), piece) for pcm in sound.feed(data[start : start + piece]))
    return heard + b"".join(sound.finish())


def pitch_hz(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * ENGINE.rate_hz / len(samples))


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (tone(24_000), "audio/pcm"),
        (tone(24_000), ""),
        (tone(16_000), "audio/L16; rate=16000"),
        (wav(tone(24_000), 24_000), "audio/wav"),
        (wav(tone(22_050), 22_050), "application/octet-stream"),
        (wav(tone(48_000), 48_000), "audio/pcm"),
        (wav(np.repeat(np.frombuffer(tone(44_100), "<i2"), 2).tobytes(), 44_100, channels=2), "audio/x-wav"),
        (float_wav(tone(16_000), 16_000), "audio/wav"),
        (opus(tone(48_000)), "audio/ogg"),
        (tone(24_000), "audio/mpeg"),
        (wav(tone(24_000), 24_000), "audio/mpeg"),
        (wav(tone(24_000, 0.2), 24_000) + wav(tone(24_000, 0.3), 24_000), "audio/wav"),
        (np.repeat(np.frombuffer(tone(24_000), "<i2"), 2).tobytes(), "audio/pcm; channels=2"),
        (b"RIFF\0\0\0\0WAVE" + b"LIST\3\0\0\0abc\0" + wav(tone(22_050), 22_050)[12:], "audio/wav"),
    ],
    ids=[
        "pcm",
        "no type",
        "pcm 16k",
        "wav 24k",
        "wav 22k",
        "wav as pcm",
        "stereo wav",
        "float wav, streamed",
        "opus",
        "pcm as mp3",
        "wav as mp3",
        "joined wav",
        "stereo pcm",
        "odd chunk first",
    ],
)
@pytest.mark.parametrize("piece", [11, 4801])
def test_every_understood_kind_keeps_its_pitch_and_length(data: bytes, content_type: str, piece: int) -> None:
    """Half a second of a tone is half a second of that tone, in odd pieces too."""
    heard = play(data, content_type, piece)
    assert pitch_hz(heard) == pytest.approx(HZ, abs=4)
    assert ENGINE.duration_ms(len(heard)) == pytest.approx(500, abs=25)


@given(st.lists(st.integers(1, 999), max_size=30))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    """However the bytes arrive, the sound is the same to the last bit."""
    data, whole = tone(24_000, 0.2), play(tone(24_000, 0.2), piece=1 << 20)
    sound, place, heard = SpeechSound("audio/pcm"), 0, b""
    for cut in [*cuts, len(data)]:
        heard += b"".join(sound.feed(data[place : place + cut]))
        place += cut
    assert heard + b"".join(sound.finish()) == whole


@pytest.mark.parametrize(
    ("data", "content_type", "name"),
    [
        (b"ID3\x04" + bytes(100), "", "MP3"),
        (b"\xff\xfb\x90\xc4" + bytes(100), "audio/pcm", "MP3"),
        (b"\xff\xf3\x84\xc4" + bytes(100), "application/octet-stream", "MP3"),
        (b"\xff\xf1\x50\x80" + bytes(100), "", "AAC"),
        (b"fLaC" + bytes(100), "", "damaged FLAC"),
        (wav(bytes(100), 24_000).replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 6, 1), 1), "", "WAV of an unusual kind"),
        (wav(bytes(100), 47_999), "", "sound at 47999 Hz"),
        (b"RIFF\0\0\0\0WAVE" + b"JUNK\xff\xff\0\0" * 20_000, "", "a WAV file without sound"),
    ],
)
def test_what_cannot_be_played_is_named(data: bytes, content_type: str, name: str) -> None:
    """Compressed sound is never played as if it were samples."""
    with pytest.raises(UnknownSoundError, match=name):
        play(data, content_type)


@given(st.binary(max_size=300))
def test_rubbish_never_crashes(data: bytes) -> None:
    """Any bytes are sound or UnknownSoundError, and whole samples either way."""
    try:
        heard = play(data, piece=13)
    except UnknownSoundError:
        return
    assert len(heard) % 2 == 0


def test_joined_files_have_no_clicks() -> None:
    """Three files of half a second in one answer are a second and a half, without a jump that the tone itself does not have."""
    heard = np.frombuffer(play(wav(tone(24_000), 24_000) * 3, "audio/wav"), "<i2").astype(int)
    assert len(heard) / ENGINE.rate_hz == pytest.approx(1.5, abs=0.02)
    assert np.abs(np.diff(heard)).max() < 4000


def test_quiet_pcm_is_not_taken_for_mp3() -> None:
    """Small negative samples begin with set bits too."""
    data = np.array([-1, -5, -200, -255, -1, 3] * 100, dtype="<i2").tobytes()
    assert len(play(data)) == 2 * len(data) + 2 * 160
