"""What is sent through a call so that its way can be timed: a soft tone, so that nothing is taken for silence, with clicks on it.

A click sits so early in its frame that the codecs' lookahead (6.5 ms in an encoder of Discord's kind, 2.5 ms in the low-delay one) leaves
it in that frame: the packet or page in which it is found is the one that carries the frame.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from discordplex.audio.format import ENGINE, MODEL, MODEL_STEP_MS, AudioFormat
from discordplex.loopback.personaplex.voice_model import ModelOutput

TONE_HZ = 300
TONE_PEAK = 1500
CLICKS_HZ = tuple(range(1500, 5001, 500))
"""Clicks come in these pitches by turns, so that one that was held for seconds is not taken for a later one."""
CLICK_PEAK = 20_000
CLICK_MS = 4
CLICK_AT_MS = 1
THRESHOLD = 6000
"""A louder sample belongs to a click."""

FRAMES_PER_CLICK = 5
STEPS_PER_CLICK = 5


@dataclass(frozen=True, slots=True)
class Click:
    """A click in some PCM: its first loud sample, and which of the pitches it has."""

    sample: int
    pitch: int


def signal(audio: AudioFormat, samples: int, clicks_at: list[int]) -> bytes:
    """Mono PCM of the tone with a click at each of these samples, in pitches by turns."""
    moments = np.arange(samples) / audio.rate_hz
    wave = TONE_PEAK * np.sin(2 * np.pi * TONE_HZ * moments)
    length = audio.rate_hz * CLICK_MS // 1000
    burst = np.arange(length) / audio.rate_hz
    for number, start in enumerate(clicks_at):
        pitch_hz = CLICKS_HZ[number % len(CLICKS_HZ)]
        wave[start : start + length] += CLICK_PEAK * np.sin(2 * np.pi * pitch_hz * burst) * np.hanning(length)
    return bytes(wave.astype("<i2").tobytes())


def clicks(pcm: bytes, rate_hz: int) -> list[Click]:
    """The clicks in mono PCM; one at its very end is not whole, and its pitch may be wrong."""
    wave = np.frombuffer(pcm, "<i2").astype(np.float32)
    loud = np.flatnonzero(np.abs(wave) > THRESHOLD)
    begins = loud[np.diff(loud, prepend=-rate_hz) > rate_hz // 20]
    return [Click(int(start), pitch_of(wave[start : start + rate_hz * CLICK_MS // 1000], rate_hz)) for start in begins]


def pitch_of(wave: NDArray[np.float32], rate_hz: int) -> int:
    """Which of the pitches this is."""
    size = 4096
    spectrum = np.abs(np.fft.rfft(wave, size))
    return int(np.argmax([spectrum[round(pitch_hz * size / rate_hz)] for pitch_hz in CLICKS_HZ]))


def speech_with_clicks(seconds: float) -> tuple[bytes, list[int]]:
    """What the person says, ENGINE PCM, and the numbers of the frames with a click."""
    frames = int(seconds * ENGINE.frames_per_second)
    clicked = list(range(FRAMES_PER_CLICK // 2, frames, FRAMES_PER_CLICK))
    offset = ENGINE.rate_hz * CLICK_AT_MS // 1000
    return signal(ENGINE, frames * ENGINE.frame_samples, [frame * ENGINE.frame_samples + offset for frame in clicked]), clicked


def _steps() -> tuple[bytes, ...]:
    samples = MODEL.rate_hz * MODEL_STEP_MS // 1000
    period = samples * STEPS_PER_CLICK
    offset = MODEL.rate_hz * CLICK_AT_MS // 1000
    whole = signal(MODEL, period * len(CLICKS_HZ), [number * period + offset for number in range(len(CLICKS_HZ))])
    size = samples * MODEL.sample_bytes
    return tuple(whole[start : start + size] for start in range(0, len(whole), size))


STEPS = _steps()
"""A model's speech in steps, from its beginning and round again."""


@dataclass
class Probe:
    """Stands where the model would be: keeps what it hears, says the tone with a click in every fifth step, the first one included."""

    heard: bytearray = field(default_factory=bytearray)
    steps: int = 0

    def step(self, heard: bytes) -> ModelOutput:
        """One step."""
        self.heard += heard
        said = STEPS[self.steps % len(STEPS)]
        self.steps += 1
        return ModelOutput(said)
