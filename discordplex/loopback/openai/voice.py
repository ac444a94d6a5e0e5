"""The stand-in's voice: a hum with a syllable for each vowel. Pure."""

import functools
import importlib
import importlib.util
import io
import wave
from typing import Final

import numpy as np

from discordplex.audio.format import ENGINE, MODEL
from discordplex.audio.oggopus import OggOpusWriter
from discordplex.audio.resampler import Resampler
from discordplex.audio.samples import int16_of
from discordplex.audio.wav import wav_of

RATE_HZ: Final = MODEL.rate_hz
SYLLABLE_MS: Final = 180
PITCHES_HZ: Final = {"shimmer": 210.0}
"""Voices with a pitch of their own; every other has 140 Hz."""
FORMATS: Final = {
    "pcm": "audio/pcm",
    "wav": "audio/wav",
    "opus": "audio/ogg",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "flac": "audio/flac",
}


@functools.lru_cache(maxsize=256)
def hum(text: str, voice: str = "shimmer") -> bytes:
    """PCM at `RATE_HZ`: one syllable for each group of vowels, at least one, falling in pitch towards the end.

    Cached, since it takes 4 ms to make, which would distort benchmarks.
    """
    vowels = [letter in "aeiouyäöü" for letter in text.lower()]
    syllables = max(1, sum(now and not before for before, now in zip([False, *vowels], vowels, strict=False)))
    length = RATE_HZ * SYLLABLE_MS // 1000
    time = np.arange(syllables * length) / RATE_HZ
    pitch_hz = PITCHES_HZ.get(voice, 140.0) * (1.1 - 0.2 * time * RATE_HZ / len(time))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    swell = np.tile(np.sin(np.pi * np.arange(length) / length) ** 0.7, syllables)
    tone = sum(np.sin(partial * phase) / partial**1.4 for partial in range(1, 9))
    return np.asarray(np.rint(5000 * swell * tone)).astype("<i2").tobytes()


def encoded(pcm: bytes, kind: str) -> bytes:
    """The hum as `kind`. AAC, and what cannot be encoded without the package `soundfile`, is a valid beginning followed by zeros."""
    if kind == "wav":
        return wav_of(pcm, RATE_HZ)
    if kind == "opus":
        padded = Resampler(RATE_HZ, ENGINE.rate_hz).convert(pcm)
        return OggOpusWriter(ENGINE.rate_hz).write(padded + bytes(-len(padded) % ENGINE.frame_bytes))
    if kind in ("mp3", "flac") and importlib.util.find_spec("soundfile"):
        target = io.BytesIO()
        importlib.import_module("soundfile").write(target, int16_of(pcm), RATE_HZ, format=kind.upper())
        return target.getvalue()
    beginnings = {"mp3": b"\xff\xf3\x84\xc4", "aac": b"\xff\xf1\x50\x80", "flac": b"fLaC\0\0\0\x22"}
    return beginnings[kind] + bytes(len(pcm) // 8) if kind in beginnings else pcm


def length_ms(wav: bytes) -> float | None:
    """How long a WAV file's sound is, None where it is none."""
    try:
        with wave.open(io.BytesIO(wav), "rb") as file:
            return file.getnframes() / file.getframerate() * 1000
    except (wave.Error, EOFError, ZeroDivisionError):
        return None
