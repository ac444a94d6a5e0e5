"""Measures how unevenly audio arrives, against its own sample clock. Pure: times come in, numbers come out.

The offset of a chunk is its arrival minus its place in the stream. On a perfect link all offsets are equal. The distance from the earliest
to the latest is what a playout buffer must hold.
"""

from bisect import bisect_left, insort
from collections import deque
from typing import Final

from discordplex.audio.format import MODEL_STEP_MS

WINDOW_S: Final = 2.5
"""The window, in seconds of audio, so that a pause forgets nothing. It is short, so that slow first steps of an engine or a bad time of the
network do not delay later sound for long. Its 31 blocks of 80 ms show nineteen twentieths of a link's range."""

_TOGETHER: Final = 1 / 4
"""A chunk that follows another within this part of its own length arrived together with it, and says nothing new."""
_STEP_S: Final = MODEL_STEP_MS / 1000 + 1e-6
_CATCHING_UP: Final = 1 / 8
"""If the time between two chunks is shorter than the chunk by this part of its length, the producer is catching up."""


class JitterEstimator:
    """The offsets in a sliding window. A difference above `band_s` is no jitter: the producer paused, stalled or caught up."""

    def __init__(self, band_s: float, tolerated: float = 0.0) -> None:
        """`tolerated`: the part of the chunks, the latest ones, that are not waited for."""
        self._band_s = band_s
        self._tolerated = tolerated
        self._window: deque[tuple[float, float]] = deque()
        self._ordered: list[float] = []
        self._remembered: deque[tuple[float, float]] = deque()
        self._last_offset = 0.0
        self._last_arrival = 0.0
        self._step_s = 0.0
        self._catching_up = False
        self.earliest = 0.0
        """The smallest offset of the window: that of a chunk that was not late."""
        self.heard_s = 0.0
        """The seconds of audio observed so far."""
        self.spread = 0.0
        """The delay of the latest chunk that is waited for, against the earliest, in seconds; or the remembered one."""

    def late_by(self, place_s: float, now: float) -> float:
        """The delay of a chunk that arrives now."""
        return now - place_s - self.earliest if self._window else 0.0

    def observe(self, place_s: float, length_s: float, now: float) -> None:
        """A chunk of `length_s` that begins `place_s` into the stream has arrived."""
        self.heard_s = place_s + length_s
        came_together = bool(self._window) and now - self._last_arrival < length_s * _TOGETHER
        self._last_arrival = now
        if came_together and self._step_s + length_s <= _STEP_S:
            self._step_s += length_s
            return
        self._step_s = length_s
        offset = now - place_s
        self._drop_strangers(offset, length_s)
        self._last_offset = offset
        self._enter(place_s, offset)

    def remember(self, spread_s: float) -> None:
        """Use at least this spread until the window has passed."""
        while self._remembered and self._remembered[-1][1] <= spread_s:
            self._remembered.pop()
        self._remembered.append((self.heard_s, spread_s))
        self._measure()

    def restart(self) -> None:
        """The producer paused: its next chunk is not late, whenever it comes. The measured spread stays."""
        if self._window:
            self.remember(self._seen_spread)
        self._clear()
        self._measure()

    @property
    def _seen_spread(self) -> float:
        ordered = self._ordered
        if not ordered:
            return 0.0
        return ordered[-1 - round(len(ordered) * self._tolerated)] - ordered[0]

    def _enter(self, place_s: float, offset: float) -> None:
        self._window.append((place_s, offset))
        insort(self._ordered, offset)
        self._forget_before(place_s - WINDOW_S)
        self.earliest = self._ordered[0]
        self._measure()

    def _measure(self) -> None:
        """Once for each chunk, since every tick of the consumer asks for it."""
        seen = self._seen_spread
        self.spread = max(seen, self._remembered[0][1]) if self._remembered else seen

    def _forget_before(self, place_s: float) -> None:
        while self._remembered and self._remembered[0][0] < place_s:
            self._remembered.popleft()
        while self._window[0][0] < place_s:
            left = self._window.popleft()[1]
            del self._ordered[bisect_left(self._ordered, left)]

    def _clear(self) -> None:
        self._window.clear()
        self._ordered.clear()

    def _drop_strangers(self, offset: float, length_s: float) -> None:
        """Forget offsets that cannot be compared with the new one.

        After a stall, the producer may catch up. While chunks come faster than they last, only the newest counts.
        """
        if not self._window:
            return
        if offset - self.earliest > self._band_s:
            self._catching_up = True
            self.restart()
        elif self._catching_up and offset < self._last_offset - length_s * _CATCHING_UP:
            self._clear()
        else:
            self._catching_up = False
            if offset < self._ordered[-1] - self._band_s:
                self._window = deque(entry for entry in self._window if entry[1] <= offset + self._band_s)
                self._ordered = sorted(entry[1] for entry in self._window)
