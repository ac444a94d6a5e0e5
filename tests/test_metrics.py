"""Counters, gauges and histograms."""

import json
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from discordplex.metrics import HISTOGRAM_WINDOW, CallMetrics, Histogram, Metrics, percentile


def test_a_name_is_one_object() -> None:
    """Asking twice for a name gives the same counter, gauge and histogram."""
    metrics = Metrics()
    metrics.counter("a").add(2)
    metrics.counter("a").add()
    metrics.gauge("b").set(1.23456)
    metrics.histogram("c").record(7)
    assert metrics.snapshot() == {
        "a": 3,
        "b": 1.235,
        "c": {"count": 1, "p50": 7, "p95": 7, "p99": 7, "max": 7},
    }


def test_a_histogram_that_exists_is_not_made_again() -> None:
    """For each new call, all those of the process are asked for: that takes none of the 68 kB that a new one has."""
    metrics = Metrics()
    metrics.histogram("a")
    tracemalloc.start()
    metrics.histogram("a")
    CallMetrics(metrics).histogram("a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * HISTOGRAM_WINDOW


def test_a_snapshot_is_json() -> None:
    """Also an empty histogram can be written as JSON."""
    metrics = Metrics()
    metrics.histogram("empty")
    assert json.loads(json.dumps(metrics.snapshot()))["empty"]["p50"] is None


def test_the_maximum_outlives_the_window() -> None:
    """Percentiles forget what is older than the window; count and maximum do not."""
    histogram = Histogram()
    histogram.record(1000)
    for _ in range(HISTOGRAM_WINDOW):
        histogram.record(1)
    assert histogram.summary() == {"count": HISTOGRAM_WINDOW + 1, "p50": 1, "p95": 1, "p99": 1, "max": 1000}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.floats(0, 100))
def test_a_percentile_is_one_of_the_values(values: list[float], percent: float) -> None:
    """Nearest rank: never a number that nobody recorded, and at least that share lies at or below it."""
    found = percentile(values, percent)
    assert found in values
    assert found is not None
    assert sum(value <= found for value in values) >= len(values) * percent / 100


def test_a_call_counts_for_itself_and_for_the_process() -> None:
    """Each call sees its own values, the process those of all."""
    process = Metrics()
    first, second = CallMetrics(process), CallMetrics(process)
    for value, call in enumerate((first, second, second)):
        call.counter("a").add()
        call.gauge("b").set(value)
        call.histogram("c").record(value)
    assert first.histogram("c").count == 1
    assert list(second.histogram("c").values) == [1, 2]
    assert (first.gauge("b").value, second.gauge("b").value) == (0, 2)
    assert process.snapshot() == {"a": 3, "b": 2, "c": {"count": 3, "p50": 1, "p95": 2, "p99": 2, "max": 2}}
    assert (first.counter("a").value, second.counter("a").value) == (1, 2)
    assert list(first.snapshot()) == ["a", "b", "c"]


def test_a_histogram_takes_its_memory_at_once() -> None:
    """Whatever is recorded afterwards, for minutes or for days, it takes no more."""
    histogram = Metrics().histogram("a_ms")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(2 * HISTOGRAM_WINDOW):
            histogram.record(number / 7)
        assert tracemalloc.get_traced_memory()[0] - before < 1024
    finally:
        tracemalloc.stop()


def test_the_newest_values_are_kept_in_their_order() -> None:
    """A window that is not full, one that is just full, and one that has wrapped; what was read before is not read again."""
    histogram = Histogram(window=4)
    assert histogram.newest(0) == (0, [])
    for number in range(3):
        histogram.record(number)
    assert histogram.newest(1) == (3, [1, 2])
    for number in range(3, 10):
        histogram.record(number)
        assert histogram.values == list(range(max(0, number - 3), number + 1))
        assert histogram.newest(number) == (number + 1, [number])
    assert histogram.newest(0) == (10, [6, 7, 8, 9])
