"""Ducking: lowers the engine's voice at the first sound of a person, before it is known whether that is an interruption.

Two threads share it: the loop reports people's sound, send asks for the gain. No detector and no event loop lies between, so the next frame
that is sent is lower already.
"""

from typing import Final

from discordplex.audio.vad import exceeds
from discordplex.clock import Clock

AUDIBLE_DBFS: Final = -45.0
"""The level at which the speech gate opens too. Open microphones in quiet rooms are below it."""
HOLD_S: Final = 0.3
"""How long the gain stays low after the last audible frame: longer than the pause between two words."""
DUCKED_GAIN: Final = 0.25
"""-12 dB: the person is clearly louder, and the voice can still be understood."""


class Ducking:
    """The ducking of one call. The threads share a single number, so no lock is needed."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._until = float("-inf")

    def hear(self, pcm: bytes) -> None:
        """Take a person's int16 PCM. Thread: loop. Measured: 8 us."""
        if exceeds(pcm, AUDIBLE_DBFS):
            self._until = self._clock.now() + HOLD_S

    @property
    def gain(self) -> float:
        """The factor for what is sent now. Thread: send. Never blocks."""
        return DUCKED_GAIN if self._clock.now() < self._until else 1.0
