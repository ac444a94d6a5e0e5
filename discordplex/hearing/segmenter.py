"""Segmenter: one speaker's audio to utterances. Pure: a detector says how likely a window is speech; time is counted in samples.

Each person has a segmenter, so that utterances are never mixed. A tick without audio is silence: Discord's clients send nothing while their
own voice detection hears nothing.
"""

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from discordplex.audio.format import AudioFormat

VAD = AudioFormat(rate_hz=16_000, channels=1, frame_ms=32)
"""What the detectors take: windows of 512 samples at 16 kHz."""

START_PROBABILITY = 0.5
STAY_PROBABILITY = 0.35
"""Hysteresis: speech begins at the upper threshold and continues until below the lower one (0.5 with hysteresis 0.15 in the comparison of
detectors that led to these)."""
START_SPEECH_MS = 96
START_WITHIN_MS = 192
"""Speech begins once that much of the last 192 ms was speech: a click or a cough of one window does not count."""
PRE_ROLL_MS = 320
"""Audio kept from before the beginning: soft consonants precede what a detector recognises."""
TAIL_MS = 160
"""Audio kept from the pause after the end, so that the last sound is complete."""


class State(enum.Enum):
    """Whether this person is speaking."""

    QUIET = enum.auto()
    SPEAKING = enum.auto()


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The person certainly speaks now."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech: VAD PCM with a little before and after it."""

    pcm: bytes
    voiced_ms: float
    lasted_ms: float
    """From where speech was first detected to now, including the pause that showed its end."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """What had begun was too short to be an utterance."""


SegmenterEvent = SpeechStarted | Utterance | Discarded


@dataclass(frozen=True, slots=True)
class Endpointing:
    """When an utterance ends, and what is too short to be one."""

    end_of_speech_ms: float = 500
    min_voiced_ms: float = 250
    """Shorter ones are dropped: transcription models invent text for noises."""
    max_utterance_ms: float = 30_000
    """A longer one is split, so that an open microphone cannot hold a turn for ever."""


class Segmenter:
    """Windows of one speaker in, utterances out."""

    def __init__(self, probability: Callable[[bytes], float], endpointing: Endpointing | None = None) -> None:
        """`probability` says how likely one VAD window is speech, 0 to 1; it may keep state."""
        self._probability = probability
        self._endpointing = endpointing or Endpointing()
        self._state = State.QUIET
        self._recent: deque[bool] = deque(maxlen=round(START_WITHIN_MS / VAD.frame_ms))
        self._pre_roll: deque[bytes] = deque(maxlen=round(PRE_ROLL_MS / VAD.frame_ms))
        self._windows: list[bytes] = []
        self._lead = 0
        """Of them, how many are from before the speech."""
        self._voiced_ms = 0.0
        self._pause_ms = 0.0

    @property
    def speaking(self) -> bool:
        """Whether an utterance has begun and not ended."""
        return self._state is State.SPEAKING

    @property
    def voiced_ms(self) -> float:
        """How much of the current utterance was speech so far; between two, of the last one."""
        return self._voiced_ms

    def push(self, window: bytes | None) -> list[SegmenterEvent]:
        """Take the next window; None where no audio came, which is silence and costs no detection."""
        pcm = VAD.silence if window is None else window
        probability = 0.0 if window is None else self._probability(window)
        if self._state is State.QUIET:
            return self._listen(pcm, probability)
        return self._continue(pcm, probability)

    def _listen(self, pcm: bytes, probability: float) -> list[SegmenterEvent]:
        self._pre_roll.append(pcm)
        self._recent.append(probability >= START_PROBABILITY)
        if sum(self._recent) * VAD.frame_ms < START_SPEECH_MS:
            return []
        self._state = State.SPEAKING
        self._windows = list(self._pre_roll)
        self._lead = max(0, len(self._windows) - len(self._recent) + self._recent.index(True))
        self._voiced_ms = sum(self._recent) * VAD.frame_ms
        self._pause_ms = 0.0
        return [SpeechStarted()]

    def _continue(self, pcm: bytes, probability: float) -> list[SegmenterEvent]:
        self._windows.append(pcm)
        if probability >= STAY_PROBABILITY:
            self._voiced_ms += VAD.frame_ms
            self._pause_ms = 0.0
        else:
            self._pause_ms += VAD.frame_ms
        if self._pause_ms >= self._endpointing.end_of_speech_ms:
            return [self._end()]
        if len(self._windows) * VAD.frame_ms >= self._endpointing.max_utterance_ms:
            return [self._end()]
        return []

    def _end(self) -> SegmenterEvent:
        surplus = max(0, round((self._pause_ms - TAIL_MS) / VAD.frame_ms))
        windows = self._windows[: len(self._windows) - surplus]
        voiced_ms, lasted_ms = self._voiced_ms, (len(self._windows) - self._lead) * VAD.frame_ms
        self._state = State.QUIET
        self._recent.clear()
        self._pre_roll.clear()
        self._windows = []
        if voiced_ms < self._endpointing.min_voiced_ms:
            return Discarded()
        return Utterance(b"".join(windows), voiced_ms, lasted_ms)
