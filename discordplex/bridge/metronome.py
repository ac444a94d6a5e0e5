"""When the uplink ticks: 50 times a second, just behind the packets of who speaks. Pure: time comes from outside.

The ticks lie on a grid of 20 ms that never drifts. Packets of a speaker come every 20 ms too, at a phase of their own, so a frame would
wait up to 20 ms for its tick, 10 ms in the mean. The metronome therefore slides, by half a millisecond a tick, until it sits just behind
the packets. It stays within one frame of its grid: the long-run rate is the grid's, which is what a model's clock needs.
"""

import itertools
from collections import deque
from collections.abc import Set as AbstractSet

from discordplex.audio.format import ENGINE
from discordplex.engine import SpeakerId

PERIOD_S = ENGINE.frame_seconds
SLIDE_S = 0.0005
"""The most one tick moves: a 20 ms frame of model time that is 2.5 % short or long on the wall's clock, which nobody hears."""
BEHIND_S = 0.00175
"""How far behind the latest usual arrival a tick sits: more than the receive thread's own unevenness, measured below 1 ms."""
TOLERANCE_S = 0.00125
"""A tick this near to its place stays where it is, so that jitter does not make it hunt."""
SETTLED_S = 0.00025
"""A slide that began ends this near to its place."""
WINDOW_FRAMES = 50
"""Arrivals that are remembered: one second of speech."""
FEWEST_FRAMES = 3
"""Arrivals of one speaker before the first slide."""
OUTLIERS = 0.1
"""The latest tenth of the arrivals is not waited for."""
WIDEST_S = 0.012
"""Arrivals spread wider than this have no phase worth following."""
QUIET_TICKS = 5
"""Ticks without a frame after which a pause has begun: the next packets may come at another phase."""


class Metronome:
    """Deadlines, one at a time: sleep until `due`, `skip`, take what there is, then `tick` or `tick_silent`."""

    def __init__(self, start: float) -> None:
        """`start`: when the first tick is due, in seconds of `Clock.now`."""
        self.due = start
        self.offset_s = 0.0
        """How far the ticks lie off their grid now, never more than one period."""
        self._phases: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self._speakers: frozenset[SpeakerId] = frozenset()
        self._sliding = False
        self._quiet_ticks = QUIET_TICKS
        self._home_s = 0.0

    def skip(self, now: float) -> int:
        """Pass over ticks that are late by a period and more, and say how many: a stall is never made up by a burst."""
        missed = max(0, int((now - self.due) / PERIOD_S))
        self.due += missed * PERIOD_S
        return missed

    def tick(self, arrival: float, speakers: AbstractSet[SpeakerId]) -> None:
        """This tick took a frame that arrived at `arrival`, of these speakers: set the next deadline."""
        if speakers != self._speakers or self._quiet_ticks >= QUIET_TICKS:
            self._phases.clear()
            self._sliding = False
            self._speakers = frozenset(speakers)
        self._quiet_ticks = 0
        self._phases.append(arrival % PERIOD_S)
        self._advance(self._towards_packets(self.due - arrival))

    def tick_silent(self) -> None:
        """This tick took nothing: set the next deadline. In a pause the ticks go home to the middle of their range."""
        self._quiet_ticks += 1
        if self._quiet_ticks == QUIET_TICKS:
            self._home_s = centred(self.offset_s)
        self._advance(self._home_s - self.offset_s if self._quiet_ticks >= QUIET_TICKS else 0.0)

    def _advance(self, error_s: float) -> None:
        wanted_s = self.offset_s + clamp(error_s, SLIDE_S)
        slide_s = clamp(wanted_s, PERIOD_S) - self.offset_s
        self.offset_s += slide_s
        self.due += PERIOD_S + slide_s

    def _towards_packets(self, waited_s: float) -> float:
        """How far the next tick is from its place: negative where it should come earlier. This tick's frame had waited `waited_s`."""
        if len(self._phases) < FEWEST_FRAMES or (cluster := cluster_of(self._phases)) is None:
            self._sliding = False
            return 0.0
        median, latest = cluster
        lead_s = (self.due - latest) % PERIOD_S
        short_s = PERIOD_S - lead_s
        # Among the later arrivals, some frames miss their tick: go later. Anywhere else every frame is in time and only waits too long:
        # go earlier, however far; going later past an arrival would leave every frame waiting for one tick more.
        error_s = BEHIND_S + short_s if short_s < latest - median else BEHIND_S - lead_s
        if error_s > 0 and waited_s > PERIOD_S - TOLERANCE_S:
            error_s -= PERIOD_S  # it has missed a tick already: nothing is in danger, and the same phase lies earlier too
        self._sliding = abs(error_s) > (SETTLED_S if self._sliding else TOLERANCE_S)
        return error_s if self._sliding else 0.0


def cluster_of(phases: deque[float]) -> tuple[float, float] | None:
    """Median and latest usual one of some phases on the circle of one period, the latter not the smaller; None where they are all over it.

    The circle is cut at its widest gap, so that phases around zero stay together.
    """
    ordered = sorted(phases)
    gaps = [after - before for before, after in itertools.pairwise(ordered)]
    gaps.append(ordered[0] + PERIOD_S - ordered[-1])
    widest = max(gaps)
    if PERIOD_S - widest > WIDEST_S:
        return None
    first = (gaps.index(widest) + 1) % len(ordered)
    line = ordered[first:] + [phase + PERIOD_S for phase in ordered[:first]]
    usual = len(line) - int(len(line) * OUTLIERS)
    return line[usual // 2], line[usual - 1]


def centred(offset_s: float) -> float:
    """The same phase within half a period of zero."""
    return (offset_s + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2


def clamp(value: float, limit: float) -> float:
    """The nearest number to `value` from -limit to limit."""
    return max(-limit, min(limit, value))
