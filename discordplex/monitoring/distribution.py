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
    """Counts of values by bucket. Call `next_second` once a second, and `read` as often as you like, but no less often."""

    def __init__(self, bounds: Sequence[float], *, scale: float = 1.0) -> None:
        """`bounds` are the upper ends, ascending; a last bucket takes what is above them. Values are multiplied by `scale` first."""
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._scale = scale
        self._counts = [0] * (len(bounds) + 1)
        self._recent = deque([[0] * len(self._counts)], maxlen=MINUTE_S)
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
        """Add what the histogram got since the last call."""
        self._read_count, values = histogram.newest(self._read_count)
        self.add(values)

    def add(self, values: Sequence[float]) -> None:
        """Add values to the counts and to the present second."""
        if not values:
            return
        scaled = np.asarray(values) * self._scale
        fresh = np.bincount(np.searchsorted(self.bounds, scaled, side="left"))
        for bucket in fresh.nonzero()[0].tolist():
            self._counts[bucket] += int(fresh[bucket])
            self._recent[-1][bucket] += int(fresh[bucket])
        # A lateness may be slightly negative, and a sum that falls is taken for a restart.
        self.sum += max(0.0, float(scaled.sum()))

    def next_second(self) -> None:
        """Begin another second; what is older than a minute is not recent any more."""
        self._recent.append([0] * len(self._counts))

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
