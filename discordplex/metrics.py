"""Counters, gauges and histograms of a call or of the process.

Plain objects that the hot path can afford: no lock, no allocation per event. Each has one writing thread; any thread may read.
Names are dotted, the unit last: `voice.rx.duplicates`, `uplink.wait_ms`.
"""

import math
from collections import deque
from typing import Any

HISTOGRAM_WINDOW = 8192
"""Newest values a histogram keeps for its percentiles: 160 s of 20 ms ticks."""

CALL_WINDOW = 2048
"""The same of one call among many, 16 KB each: 40 s of 20 ms ticks."""


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
    """Values, their count and maximum over all time, their percentiles over the newest ones, `HISTOGRAM_WINDOW` unless told."""

    __slots__ = ("count", "maximum", "values")

    def __init__(self, window: int = HISTOGRAM_WINDOW) -> None:
        self.count = 0
        self.maximum = 0.0
        self.values: deque[float] = deque(maxlen=window)

    def record(self, value: float) -> None:
        """Keep one value. Thread: the one writer."""
        self.count += 1
        self.maximum = max(self.maximum, value)
        self.values.append(value)

    def percentile(self, percent: float) -> float | None:
        """The nearest-rank percentile of the window, None while it is empty. Thread: any."""
        return percentile(list(self.values), percent)

    def summary(self) -> dict[str, float | int | None]:
        """Count, p50, p95, p99 and maximum, rounded to microseconds of a millisecond value."""
        ordered = sorted(self.values)
        found = {f"p{p}": percentile(ordered, p) for p in (50, 95, 99)}
        rounded = {name: None if value is None else round(value, 3) for name, value in found.items()}
        return {"count": self.count, **rounded, "max": round(self.maximum, 3)}


class Metrics:
    """A bag of named metrics; asking for a name twice gives the same object."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}

    def counter(self, name: str) -> Counter:
        """The counter of that name, made on first use."""
        return self._counters.setdefault(name, Counter())

    def gauge(self, name: str) -> Gauge:
        """The gauge of that name, made on first use."""
        return self._gauges.setdefault(name, Gauge())

    def histogram(self, name: str) -> Histogram:
        """The histogram of that name, made on first use."""
        return self._histograms.setdefault(name, Histogram())

    def snapshot(self) -> dict[str, Any]:
        """Everything so far, ready for JSON: name -> number, or a histogram's summary. Thread: any."""
        found: dict[str, Any] = {name: counter.value for name, counter in list(self._counters.items())}
        found |= {name: round(gauge.value, 3) for name, gauge in list(self._gauges.items())}
        found |= {name: histogram.summary() for name, histogram in list(self._histograms.items())}
        return dict(sorted(found.items()))


class CallGauge(Gauge):
    """A call's gauge; the process's follows the call that was heard of last."""

    __slots__ = ("_process",)

    def __init__(self, process: Gauge) -> None:
        super().__init__()
        self._process = process

    def set(self, value: float) -> None:
        """Remember the newest value, here and there. Thread: the one writer."""
        self.value = value
        self._process.set(value)


class CallHistogram(Histogram):
    """A call's histogram; each value counts for the process as well."""

    __slots__ = ("_process",)

    def __init__(self, process: Histogram) -> None:
        super().__init__(CALL_WINDOW)
        self._process = process

    def record(self, value: float) -> None:
        """Keep one value, here and there. Thread: the one writer."""
        super().record(value)
        self._process.record(value)


class CallMetrics(Metrics):
    """One call's own gauges and histograms, each value of which counts for the process as well. Counters are the process's alone."""

    def __init__(self, process: Metrics) -> None:
        super().__init__()
        self._process = process

    def counter(self, name: str) -> Counter:
        """The process's counter of that name."""
        return self._process.counter(name)

    def gauge(self, name: str) -> Gauge:
        """The call's gauge of that name, made on first use."""
        return self._gauges.setdefault(name, CallGauge(self._process.gauge(name)))

    def histogram(self, name: str) -> Histogram:
        """The call's histogram of that name, made on first use."""
        return self._histograms.setdefault(name, CallHistogram(self._process.histogram(name)))


def percentile(values: list[float], percent: float) -> float | None:
    """The nearest-rank percentile of `values`, None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
