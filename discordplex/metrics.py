"""Counters, gauges and histograms of a call or of the process, and the span under which its work is traced.

They are cheap enough for every frame: no lock, no allocation per event. Each has one writing thread; any thread may read.
Names are dotted, with the unit at the end: `voice.rx.duplicates`, `uplink.wait_ms`.
"""

import math
from array import array
from typing import Any

from discordplex.tracing import NO_SPAN, TraceSpan

HISTOGRAM_WINDOW = 8192
"""How many of the newest values a histogram keeps for its percentiles: 160 s of 20 ms ticks."""

CALL_WINDOW = 2048
"""The same for the histogram of one call: 40 s of 20 ms ticks, 16 KB."""


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """Count `amount` more. Thread: the one writer."""
        self.value += amount


class Gauge:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Remember the newest value. Thread: the one writer."""
        self.value = value


class Histogram:
    """Count and maximum of all values, and percentiles of the newest `window` values.

    The values are kept as eight bytes each in memory that is taken at once: kept as objects, they took four times as much, and the
    process grew for minutes until every window was full.
    """

    __slots__ = ("count", "maximum", "ring", "window")

    def __init__(self, window: int = HISTOGRAM_WINDOW) -> None:
        self.count = 0
        self.maximum = 0.0
        self.window = window
        self.ring = array("d", bytes(8 * window))
        """The value number n is at n % window."""

    @property
    def values(self) -> list[float]:
        """The newest values, the oldest first. Thread: any."""
        return self.newest(0)[1]

    def record(self, value: float) -> None:
        """Keep one value. Thread: the one writer."""
        self.ring[self.count % self.window] = value
        self.count += 1
        self.maximum = max(self.maximum, value)

    def newest(self, since: int) -> tuple[int, list[float]]:
        """`count` now, and the values after the first `since`, as far as they are kept. Thread: any.

        A value that is recorded at this very moment may be counted in place of its neighbour.
        """
        count = self.count
        wanted = max(0, min(count - since, self.window))
        end = count % self.window
        begin = end - wanted
        kept = self.ring[begin:end] if begin >= 0 else self.ring[begin:] + self.ring[:end]
        return count, kept.tolist()

    def percentile(self, percent: float) -> float | None:
        """The nearest-rank percentile of the newest values; None if there are none. Thread: any."""
        return percentile(self.values, percent)

    def summary(self) -> dict[str, float | int | None]:
        """Count, p50, p95, p99 and maximum, rounded to three decimals."""
        ordered = sorted(self.values)
        found = {f"p{p}": percentile(ordered, p) for p in (50, 95, 99)}
        rounded = {name: None if value is None else round(value, 3) for name, value in found.items()}
        return {"count": self.count, **rounded, "max": round(self.maximum, 3)}


class Metrics:
    """Metrics by name. The same name always gives the same object."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self.span: TraceSpan = NO_SPAN
        """What the spans of its parts are below; only who made this object sets it. Thread: loop."""

    def counter(self, name: str) -> Counter:
        """The counter of that name, made on first use."""
        return self._counters.setdefault(name, Counter())

    def gauge(self, name: str) -> Gauge:
        """The gauge of that name, made on first use."""
        return self._gauges.setdefault(name, Gauge())

    def histogram(self, name: str) -> Histogram:
        """The histogram of that name, made on first use."""
        return self._histograms.get(name) or self._histograms.setdefault(name, Histogram())  # each takes 68 kB

    def counters(self) -> dict[str, int]:
        """The value of every counter by its name. Thread: any."""
        return {name: counter.value for name, counter in list(self._counters.items())}

    def gauges(self) -> dict[str, float]:
        """The value of every gauge by its name. Thread: any."""
        return {name: gauge.value for name, gauge in list(self._gauges.items())}

    def histograms(self) -> dict[str, Histogram]:
        """Every histogram by its name. Thread: any."""
        return dict(self._histograms)

    def snapshot(self) -> dict[str, Any]:
        """All metrics, ready for JSON: each name with a number, or the summary of a histogram. Thread: any."""
        found: dict[str, Any] = {name: counter.value for name, counter in list(self._counters.items())}
        found |= {name: round(gauge.value, 3) for name, gauge in list(self._gauges.items())}
        found |= {name: histogram.summary() for name, histogram in list(self._histograms.items())}
        return dict(sorted(found.items()))


class CallCounter(Counter):
    """The counter of a call. What it counts is also counted for the process."""

    __slots__ = ("_process",)

    def __init__(self, process: Counter) -> None:
        super().__init__()
        self._process = process

    def add(self, amount: int = 1) -> None:
        """Count `amount` more, for the call and the process. Thread: the one writer."""
        self.value += amount
        self._process.value += amount


class CallGauge(Gauge):
    """The gauge of a call. Each new value is also set on the gauge of the process."""

    __slots__ = ("_process",)

    def __init__(self, process: Gauge) -> None:
        super().__init__()
        self._process = process

    def set(self, value: float) -> None:
        """Remember the newest value, for the call and the process. Thread: the one writer."""
        self.value = value
        self._process.value = value


class CallHistogram(Histogram):
    """The histogram of a call. Each value is also recorded for the process."""

    __slots__ = ("_process",)

    def __init__(self, process: Histogram) -> None:
        super().__init__(CALL_WINDOW)
        self._process = process

    def record(self, value: float) -> None:
        """Record one value, for the call and the process. Thread: the one writer."""
        # Written out and not by calls: this runs with every frame.
        process = self._process
        self.ring[self.count % CALL_WINDOW] = value
        self.count += 1
        process.ring[process.count % HISTOGRAM_WINDOW] = value
        process.count += 1
        if value > self.maximum:
            self.maximum = value
            process.maximum = max(process.maximum, value)


class CallMetrics(Metrics):
    """The metrics of one call. Each value also goes to those of the process."""

    def __init__(self, process: Metrics) -> None:
        super().__init__()
        self._process = process

    def counter(self, name: str) -> Counter:
        """The call's counter of that name, made on first use."""
        return self._counters.setdefault(name, CallCounter(self._process.counter(name)))

    def gauge(self, name: str) -> Gauge:
        """The call's gauge of that name, made on first use."""
        return self._gauges.setdefault(name, CallGauge(self._process.gauge(name)))

    def histogram(self, name: str) -> Histogram:
        """The call's histogram of that name, made on first use."""
        return self._histograms.get(name) or self._histograms.setdefault(name, CallHistogram(self._process.histogram(name)))


def percentile(values: list[float], percent: float) -> float | None:
    """The nearest-rank percentile of `values`; None if there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
