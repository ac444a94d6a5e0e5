"""SpeechInput: each person's frames to utterances, tick by tick. Every speaker has a segmenter, so that utterances are never mixed."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from discordplex.audio.format import ENGINE
from discordplex.audio.frame import Reframer
from discordplex.audio.resampler import Resampler
from discordplex.engine import SpeakerId
from discordplex.hearing.detector import Detector
from discordplex.hearing.segmenter import VAD, Endpointing, Segmenter, SegmenterEvent
from discordplex.metrics import Metrics
from discordplex.tracing import NO_SPAN, TraceSpan

LISTEN_ON_MS = 200
"""For this long after the last packet, silence still goes through the detector so that its state settles on silence; afterwards a pause
costs no detection."""
FALL_ASLEEP_MS = 1000
"""After this long without a packet a speaker's input does nothing until the next one. Longer than the pre-roll, which is then all
silence."""
FORGET_MS = 30_000
"""After this long without a packet a speaker's input is removed, and its detector serves another speaker."""
MOST_SPEAKERS: Final = 12
"""People who are listened to at once: each costs up to 0.3 ms of every tick and 9 MB. Beyond that the person who has been silent longest is
replaced; where nobody is silent, the newest are not heard."""
MOST_WAITING = 1000 // VAD.frame_ms
"""Windows that wait for a detector to be made; beyond that the oldest is dropped."""


@dataclass(frozen=True, slots=True)
class PendingUtterance:
    """An utterance that waits to be transcribed."""

    speaker: SpeakerId
    pcm: bytes
    began_at: float
    at: float
    """When it ended."""
    turn: TraceSpan = NO_SPAN
    """The turn that it begins, where it is answered."""


class Detectors(Protocol):
    """Where the detectors of speakers come from. Use it in one thread at a time."""

    def take(self) -> Detector | None:
        """A detector without state; None where none is ready yet."""
        ...

    def give_back(self, detector: Detector) -> None:
        """Take a detector back; its speaker is gone."""
        ...


class SpeakerInput:
    """One speaker's frames to utterances. `hear` takes a tick's frame, None where no packet came, which is silence."""

    def __init__(self, detectors: Detectors, endpointing: Endpointing) -> None:
        self._detectors = detectors
        self._detector: Detector | None = None
        self._segmenter = Segmenter(self._probability, endpointing)
        self._resampler = Resampler(ENGINE.rate_hz, VAD.rate_hz)
        self._windows = Reframer(VAD)
        self._waiting: deque[bytes | None] = deque(maxlen=MOST_WAITING)
        self.silent_ms = 0

    @property
    def speaking(self) -> bool:
        """Whether an utterance has begun and not ended."""
        return self._segmenter.speaking

    @property
    def voiced_ms(self) -> float:
        """How much of the current utterance was speech so far."""
        return self._segmenter.voiced_ms

    def hear(self, frame: bytes | None) -> list[SegmenterEvent]:
        """Process one tick."""
        self.silent_ms = 0 if frame is not None else self.silent_ms + ENGINE.frame_ms
        if self.silent_ms > FALL_ASLEEP_MS and not self.speaking:
            return []
        heard = self._resampler.convert(ENGINE.silence if frame is None else frame)
        self._waiting.extend(window if self.silent_ms <= LISTEN_ON_MS else None for window in self._windows.push(heard))
        self._detector = self._detector or self._detectors.take()
        if self._detector is None:
            return []
        events = [event for window in self._waiting for event in self._segmenter.push(window)]
        self._waiting.clear()
        return events

    def close(self) -> None:
        """Give the detector back; do not use this object again."""
        if self._detector is not None:
            self._detectors.give_back(self._detector)
            self._detector = None

    def _probability(self, window: bytes) -> float:
        return self._detector.probability(window) if self._detector else 0.0


class SpeechInput:
    """The input of all speakers. Use it in one thread at a time.

    Measured for each active speaker: 0.15 to 0.3 ms a tick, with the slower detector 1.3 ms.

    Metrics: `hearing.unheard`, frames of people for whom there was no place.
    """

    def __init__(self, detectors: Detectors, endpointing: Endpointing | None = None, *, metrics: Metrics | None = None) -> None:
        self._unheard = (metrics or Metrics()).counter("hearing.unheard")
        self._detectors = detectors
        self._endpointing = endpointing or Endpointing()
        self._inputs: dict[SpeakerId, SpeakerInput] = {}

    def push(self, frames: Mapping[SpeakerId, bytes]) -> list[tuple[SpeakerId, SegmenterEvent]]:
        """Process one tick: an ENGINE frame of each person who sent one. Returns what began and ended with it."""
        for speaker in frames:
            if speaker in self._inputs:
                continue
            if self._make_room(frames):
                self._inputs[speaker] = SpeakerInput(self._detectors, self._endpointing)
            else:
                self._unheard.add()
        events = [(speaker, event) for speaker, one in self._inputs.items() for event in one.hear(frames.get(speaker))]
        for speaker in [speaker for speaker, one in self._inputs.items() if one.silent_ms >= FORGET_MS]:
            self._inputs.pop(speaker).close()
        return events

    def _make_room(self, heard_now: Iterable[SpeakerId]) -> bool:
        """Whether there is a place for another speaker. The person who has been silent longest is removed, except in an utterance."""
        if len(self._inputs) < MOST_SPEAKERS:
            return True
        idle = {speaker: one.silent_ms for speaker, one in self._inputs.items() if not one.speaking and speaker not in heard_now}
        longest = max(idle, key=idle.__getitem__, default=None)
        if longest is None or idle[longest] <= LISTEN_ON_MS:
            return False
        self.forget(longest)
        return True

    def voiced_ms(self, speaker: SpeakerId) -> float:
        """How much of the utterance that this person is in was speech so far; 0 while they are in none."""
        one = self._inputs.get(speaker)
        return one.voiced_ms if one is not None and one.speaking else 0.0

    def speaking(self) -> list[SpeakerId]:
        """Who is in an utterance at this moment."""
        return [speaker for speaker, one in self._inputs.items() if one.speaking]

    def forget(self, speaker: SpeakerId) -> None:
        """Drop what was heard of this person; an utterance that they are in never ends."""
        one = self._inputs.pop(speaker, None)
        if one is not None:
            one.close()

    def forget_everybody(self) -> None:
        """Drop all that was heard; the detectors go back to the pool."""
        for one in self._inputs.values():
            one.close()
        self._inputs.clear()
