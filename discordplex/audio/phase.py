"""PhaseAdjuster: a steady beat of 20 ms that moves, a little each time, to where its frames wait no longer than they must. Pure.

A consumer that may choose its phase follows what its buffer says of the last frame: how much earlier it could have been taken.
"""

from typing import Final

from discordplex.audio.format import ENGINE

PERIOD_S: Final = ENGINE.frame_seconds
SLIDE_S: Final = 0.0005
"""The most one tick moves: 20 ms that are 2.5 % short or long on the wall's clock, which nobody hears."""
TOLERANCE_S: Final = 0.00125
"""A beat this near to its place stays where it is, so that jitter does not make it hunt."""
SETTLED_S: Final = 0.00025
"""A slide that began ends this near to its place."""
END_STEPS: Final = 50
"""A beat that has been held up by the early end of its range for so many steps goes back by a period: the same phase, with room before it.
Frames then wait a period longer until their buffer drops one; else they would wait too long for as long as the sound lasts."""


class PhaseAdjuster:
    """How far one beat lies off its grid, and its next step. One owner."""

    def __init__(self, range_s: float) -> None:
        """`range_s`: how far it may leave the grid, either way; one period at least."""
        self.offset_s = 0.0
        """How far it is off now; negative is early."""
        self._range_s = range_s
        self._sliding = False
        self._steps_at_end = 0
        self._back_to_s: float | None = None

    def step(self, surplus_s: float | None) -> float:
        """The step after a frame that could have been taken `surplus_s` earlier; 0.0 where that is None or near enough."""
        if self._back_to_s is not None:
            return self._go_back(self._back_to_s, surplus_s)
        error_s = -(surplus_s or 0.0)
        self._sliding = abs(error_s) > (SETTLED_S if self._sliding else TOLERANCE_S)
        step_s = self._slide(self.offset_s + error_s) if self._sliding else 0.0
        is_at_end = self._sliding and error_s < 0.0 and not step_s
        self._steps_at_end = self._steps_at_end + 1 if is_at_end else 0
        if self._steps_at_end == END_STEPS:
            self._back_to_s = self.offset_s + PERIOD_S
        return step_s

    def towards(self, offset_s: float) -> float:
        """One step on the way to that offset."""
        self._back_to_s = None
        return self._slide(offset_s)

    def _go_back(self, offset_s: float, surplus_s: float | None) -> float:
        """One step of the way back; there, the beat waits for the buffer to drop a frame."""
        step_s = self._slide(offset_s)
        if not step_s and (surplus_s or 0.0) < PERIOD_S:
            self._back_to_s = None
        return step_s

    def _slide(self, offset_s: float) -> float:
        wanted_s = clamp(offset_s, self._range_s)
        step_s = clamp(wanted_s - self.offset_s, SLIDE_S)
        self.offset_s += step_s
        return step_s


def clamp(value: float, limit: float) -> float:
    """The nearest number to `value` from -limit to limit."""
    return max(-limit, min(limit, value))
