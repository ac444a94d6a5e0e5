"""Metronome: when the uplink ticks, 50 times a second, shortly after the speakers' packets. Pure: the time is a parameter.

The ticks lie on a grid of 20 ms that never drifts. A speaker's packets come every 20 ms too, at another phase, so a frame would wait up to
20 ms for its tick, 10 ms on average, and 20 more once it has missed one. The sink knows how much earlier a tick could have come with every
packet still in time; the metronome moves there by half a millisecond a tick. It stays within two frames of its grid, so the long-run rate
is the grid's, which is what a model's clock needs.
"""

from discordplex.audio.format import ENGINE
from discordplex.audio.phase import SETTLED_S, PhaseAdjuster

PERIOD_S = ENGINE.frame_seconds
RANGE_S = 2 * PERIOD_S
"""How far the ticks may leave their grid: one period for the phase, one for a frame that missed its tick and would always wait."""
BEHIND_S = 0.00175
"""What a tick leaves of the surplus, beyond what the packets' jitter needs: a loop is sometimes that late."""
QUIET_TICKS = 5
"""Ticks without a frame after which a pause has begun: the next packets may come at another phase."""


class Metronome:
    """Deadlines, one at a time: sleep until `due`, call `skip`, take what there is, then call `tick`, `tick_quiet` or `tick_silent`."""

    def __init__(self, start: float) -> None:
        """`start`: when the first tick is due, in seconds of `Clock.now`."""
        self.due = start
        self._phase = PhaseAdjuster(RANGE_S)
        self._quiet_ticks = QUIET_TICKS
        self._centre_s = 0.0
        self.wants_quiet = False
        """Whether the ticks have moved so far that a quiet frame is to be reported by `tick_quiet`."""
        self._recentring = False

    @property
    def offset_s(self) -> float:
        """How far the ticks lie off their grid now, never more than `RANGE_S`."""
        return self._phase.offset_s

    def skip(self, now: float) -> int:
        """Skip ticks that are late by a period or more and return how many: a stall is never made up by a burst."""
        missed = max(0, int((now - self.due) / PERIOD_S))
        self.due += missed * PERIOD_S
        return missed

    def tick(self, surplus_s: float | None) -> None:
        """This tick took frames and could have come `surplus_s` earlier, None where that is not known: set the next deadline."""
        self._quiet_ticks = 0
        self._recentring = False
        self.due += PERIOD_S + self._phase.step(None if surplus_s is None else surplus_s - BEHIND_S)
        self.wants_quiet = self.wants_quiet or abs(self._phase.offset_s) > PERIOD_S

    def tick_quiet(self) -> None:
        """This tick took frames in which nobody speaks: set the next deadline, a step back towards the grid.

        For people who send without a pause. Their frames then wait longer, until the sink drops a quiet one, as it does with any backlog.
        """
        self._quiet_ticks = 0
        if not self._recentring:
            self._recentring = True
            self._centre_s = centred(self.offset_s)
        self.due += PERIOD_S + self._phase.towards(self._centre_s)
        self.wants_quiet = abs(self.offset_s - self._centre_s) > SETTLED_S

    def tick_silent(self) -> None:
        """This tick took nothing: set the next deadline. In a pause the ticks return to the middle of their range."""
        self._quiet_ticks += 1
        if self._quiet_ticks == QUIET_TICKS:
            self._centre_s = centred(self.offset_s)
        self.due += PERIOD_S + (self._phase.towards(self._centre_s) if self._quiet_ticks >= QUIET_TICKS else 0.0)


def centred(offset_s: float) -> float:
    """The same phase within half a period of zero."""
    return (offset_s + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2
