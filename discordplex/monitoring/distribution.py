"""Distribution: how often values fell into fixed buckets, since the start and in the last minute. Pure.

The hot path keeps its newest values in a `Histogram` and sorts nothing. This reads them once a second, so that fixed buckets cost the hot
path nothing; windowed percentiles, which the histogram gives, cannot be added up over processes, and buckets can.
"""

from collections import deque
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from discordplex.metrics import Histogram

MINUTE_S = 60


class Distribution:
    """Counts of values by bucket. Call `read` once a second."""

    def __init__(self, bounds: Sequence[float], *, scale: float = 1.0) -> None:
        """`bounds` are the upper ends, ascending; a last bucket takes what is above them. Values are multiplied by `scale` first."""
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._scale = scale
        self._counts = [0] * (len(bounds) + 1)
        self._recent: deque[list[int]] = deque(maxlen=MINUTE_S)
        self._read_count = 0

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    @property
    def cumulative(self) -> list[int]:
        """For each bound, how many values were at most that, and last how many there were."""
        return list(accumulate(self._counts))

    def read(self, histogram: Histogram) -> None:
        """Add what the histogram got since the last call, and begin another second."""
        self._read_count, values = histogram.newest(self._read_count)
        self.add(values)

    def add(self, values: Sequence[float]) -> None:
        """Add the values of one second."""
        fresh = [0] * len(self._counts)
        if values:
            scaled = np.asarray(values) * self._scale
            fresh = [int(count) for count in np.bincount(np.searchsorted(self.bounds, scaled, side="left"), minlength=len(fresh))]
            self._counts = [old + new for old, new in zip(self._counts, fresh, strict=True)]
            # A lateness may be slightly negative, and a sum that falls is taken for a restart.
            self.sum += max(0.0, float(scaled.sum()))
        self._recent.append(fresh)

    def recent(self, percent: float) -> float | None:
        """The percentile of the last minute, interpolated within its bucket; None without values.

        Above the last bound, it is that bound: more is not known.
        """
        counts: list[int] = [sum(column) for column in zip(*self._recent, strict=True)]
        wanted = sum(counts) * percent / 100
        if not wanted:
            return None
        below = 0
        for number, (upper, count) in enumerate(zip(self.bounds, counts, strict=False)):
            if below + count >= wanted:
                lower = self.bounds[number - 1] if number else 0.0
                return lower + (upper - lower) * (wanted - below) / count
            below += count
        return self.bounds[-1]

    @property
    def recent_count(self) -> int:
        """How many values there were in the last minute."""
        return sum(map(sum, self._recent))
