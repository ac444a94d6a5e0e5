"""PhaseAdjuster: shifts the phase of a 20 ms tick in small steps, so that frames wait no longer than necessary. Pure.

The buffer says how much earlier the last frame could have been taken, and the consumer moves its ticks by that.
"""

from typing import Final

from discordplex.audio.format import ENGINE

PERIOD_S: Final = ENGINE.frame_seconds
SLIDE_S: Final = 0.0005
"""The most that one tick moves: the tick is 2.5 % shorter or longer, which is not audible."""
TOLERANCE_S: Final = 0.00125
"""A phase this near to its target does not move, so that it does not follow jitter."""
SETTLED_S: Final = 0.00025
"""A move ends this near to its target."""
END_STEPS: Final = 50
"""After this many steps at the early end of its range, the tick goes back by a period: the same phase, with room to move. Frames then wait
a period longer until their buffer drops one. Without this, they would wait too long until the sound ends."""


class PhaseAdjuster:
    """The offset of a tick from its grid, and its next step. One owner."""

    def __init__(self, range_s: float) -> None:
        """`range_s`: the largest offset in either direction; at least one period."""
        self.offset_s = 0.0
        """The current offset; negative is early."""
        self._range_s = range_s
        self._sliding = False
        self._steps_at_end = 0
        self._back_to_s: float | None = None

    def step(self, surplus_s: float | None) -> float:
        """The step after a frame that could have been taken `surplus_s` earlier; 0.0 if that is None or near enough."""
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
        """One step towards that offset."""
        self._back_to_s = None
        return self._slide(offset_s)

    def _go_back(self, offset_s: float, surplus_s: float | None) -> float:
        """One step back. At its end, the tick waits until the buffer drops a frame."""
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
