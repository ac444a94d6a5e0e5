"""Pacing: how long a playout buffer holds its frames. Pure arithmetic on times and places; `playout.py` applies it.

A place is the position in the stream, in seconds of audio. The hold is measured from the earliest arrivals: `now - place - earliest`.
"""

import enum
import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from discordplex.audio.format import ENGINE
from discordplex.audio.jitter import JitterEstimator

FRAME_S: Final = ENGINE.frame_seconds
EPSILON_S: Final = 1e-6
_TICKS_MEASURED: Final = 5
"""The smallest hold of this many ticks counts, because a late tick of the consumer makes every hold look too long."""
_LEARNING_S: Final = 5.0
"""After this much audio, a calm link counts as calm."""
_MILD_S: Final = 0.030
_BEYOND_MILD: Final = 0.45
"""The spread of a few seconds is smaller than the largest that will come. So expect more: this part of what is above 30 ms, and the
profile's part of all of it."""
_SEVERE_S: Final = 0.060
"""From this spread on, repeating a frame within speech is better than a hole."""
_AFTER_HOLE: Final = (2.2, 0.020)
"""After a hole, expect this many times the spread, plus this many seconds.

Simulated, 200 calls with blocks late by 0 to 150 ms at random: at most one hole each. With 1.5 and 10 ms, two calls had two; without this
rule, 31 had two and one had three."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The kind of producer that a buffer has."""

    initial_ms: float
    """The hold after the earliest arrival while the link is unknown."""
    floor_ms: float
    """The same when the link is known to be calm."""
    ceiling_ms: float
    """The largest hold against jitter; a longer delay is a stall."""
    beyond: float
    """The part of the measured spread that is added to it, because more is expected."""
    margin_ms: float
    """The hold that is added to the expected spread."""
    capacity_ms: float
    """The most audio that is kept. Beyond it, the oldest is dropped."""
    trim: bool = True
    """Whether a backlog is dropped. False keeps everything that was pushed, and starts at once."""
    wary: bool = False
    """Whether it expects more jitter after a hole, and extends a short hold during silence."""
    pauses: bool = False
    """Whether the producer may stop after a quiet frame. Then that is no hole."""
    tolerated: float = 0.0
    """The part of the chunks that may come too late. The hold covers the others."""
    cuts_backlog: bool = True
    """Whether a backlog is cut at once, with words in it. Otherwise it is played faster until it is gone."""

    @property
    def capacity_frames(self) -> int:
        """The most audio that is kept, in frames."""
        return int(self.capacity_ms / ENGINE.frame_ms)


STREAM: Final = Profile(initial_ms=20, floor_ms=18, ceiling_ms=150, beyond=0.25, margin_ms=2, capacity_ms=2000, wary=True)
"""An engine that speaks in real time. PersonaPlex's blocks were measured 71 to 98 ms apart: 18 ms late now and then, on a calm link.
Simulated, 60 calls of 15 s with that spacing: a quarter beyond what was seen leaves no hole, a tenth leaves one in one call."""
REPLIES: Final = Profile(initial_ms=0, floor_ms=0, ceiling_ms=0, beyond=0, margin_ms=0, capacity_ms=180_000, trim=False, pauses=True)
"""An engine that sends whole replies at once."""
SPEAKER: Final = Profile(
    initial_ms=0, floor_ms=0, ceiling_ms=80, beyond=0.1, margin_ms=1, capacity_ms=600, pauses=True, tolerated=0.02, cuts_backlog=False
)
"""A person's packets, already in order. A late one costs the model 20 ms of silence. If the buffer waited for the latest of 125, one
short problem of the network would delay everything in the next seconds."""


class Thinness(enum.Enum):
    """How well the hold covers the jitter of the link."""

    ENOUGH = enum.auto()
    LITTLE = enum.auto()
    """It covers only the measured jitter."""
    TOO_LITTLE = enum.auto()
    """Another chunk as late as the latest one would leave a hole."""


class Pacing:
    """The hold, its target, and the difference in frames."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._ceiling_s = profile.ceiling_ms / 1000
        self._jitter = JitterEstimator(band_s=self._ceiling_s + FRAME_S, tolerated=profile.tolerated)
        self._ticks: deque[float] = deque(maxlen=_TICKS_MEASURED)
        self._held_s = 0.0
        self.surplus_s: float | None = None
        """How much longer the hold was at the last tick than its target; negative if shorter, None before enough ticks."""

    @property
    def target_s(self) -> float:
        """The target of the hold after the earliest arrivals."""
        profile = self._profile
        calm_ms = profile.initial_ms if self._jitter.heard_s < _LEARNING_S else profile.floor_ms
        spread = self._jitter.spread
        margin_s = profile.margin_ms / 1000 if spread > EPSILON_S else 0.0
        feared = spread * (1 + profile.beyond) + max(0.0, spread - _MILD_S) * _BEYOND_MILD + margin_s
        return min(max(calm_ms / 1000, feared), self._ceiling_s)

    def arrived(self, place_s: float, length_s: float, now: float) -> None:
        """A chunk has arrived."""
        self._jitter.observe(place_s, length_s, now)

    def paused(self) -> None:
        """The producer had nothing to say: its next chunk is not late."""
        self._jitter.restart()

    def hole(self, place_s: float, length_s: float, now: float) -> bool:
        """A chunk has arrived after a hole. Returns whether a buffer can cover this delay; if not, the producer stalled."""
        learnt = self._jitter.late_by(place_s, now) <= self._ceiling_s + FRAME_S
        self._jitter.observe(place_s, length_s, now)
        if learnt and self._profile.wary:
            factor, beyond_s = _AFTER_HOLE
            self._jitter.remember(min(self._jitter.spread * factor + beyond_s, self._ceiling_s))
        return learnt

    def may_begin(self, place_s: float, arrived: float, now: float) -> bool:
        """Whether the frame at `place_s`, which arrived at `arrived`, may be played now, and the ones after it at each tick."""
        self._ticks.clear()
        self.surplus_s = None
        held_s = max(now - arrived, now - place_s - self._jitter.earliest)
        return not self._profile.trim or held_s + EPSILON_S >= self.target_s

    def tick(self, place_s: float, now: float) -> None:
        """The frame at `place_s` is due now."""
        self._ticks.append(now - place_s)
        self._measure()

    def put_off(self) -> None:
        """A frame was played twice: everything after it is due a tick later. A dropped frame shows at the next tick by itself."""
        self._ticks = deque((offset + FRAME_S for offset in self._ticks), maxlen=_TICKS_MEASURED)
        self._measure()

    @property
    def excess_frames(self) -> int:
        """The frames that can be dropped without going below the target."""
        return max(0, int((self.surplus_s + EPSILON_S) / FRAME_S)) if self.surplus_s is not None else 0

    @property
    def frames_over_ceiling(self) -> int:
        """The frames above the ceiling, without the one that waits for its tick."""
        if self.surplus_s is None:
            return 0
        return max(0, math.ceil((self._held_s - self._ceiling_s - EPSILON_S) / FRAME_S) - 1)

    @property
    def thinness(self) -> Thinness:
        """Whether the hold is long enough, by the expected and the measured jitter."""
        if not self._profile.wary or self.surplus_s is None:
            return Thinness.ENOUGH
        spread = self._jitter.spread
        if self._held_s < min(self.target_s if spread > _SEVERE_S else spread, self._ceiling_s) - EPSILON_S:
            return Thinness.TOO_LITTLE
        barely = spread + self._profile.margin_ms / 2000
        return Thinness.LITTLE if self._held_s < min(barely, self._ceiling_s) - EPSILON_S else Thinness.ENOUGH

    def _measure(self) -> None:
        """Once for each tick: several decisions depend on it."""
        if self._profile.trim and len(self._ticks) == _TICKS_MEASURED:
            self._held_s = min(self._ticks) - self._jitter.earliest
            self.surplus_s = self._held_s - self.target_s
        else:
            self.surplus_s = None
