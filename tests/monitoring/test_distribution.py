"""Fixed buckets from the histograms of the hot path."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.metrics import CALL_WINDOW, HISTOGRAM_WINDOW, CallMetrics, Histogram, Metrics
from discordplex.monitoring.distribution import Distribution

BOUNDS = (1.0, 2.0, 5.0)


@given(st.lists(st.lists(st.floats(0, 10)), max_size=5))
def test_every_value_is_in_one_bucket(seconds: list[list[float]]) -> None:
    """As Prometheus counts them: a value on a bound is in its bucket. Nothing ever falls."""
    histogram, buckets = Histogram(), Distribution(BOUNDS)
    before = [0, 0, 0, 0]
    for values in seconds:
        for value in values:
            histogram.record(value)
        buckets.read(histogram)
        assert all(new >= old for new, old in zip(buckets.cumulative, before, strict=True))
        before = buckets.cumulative
    everything = [value for values in seconds for value in values]
    assert buckets.cumulative == [sum(value <= bound for value in everything) for bound in (*BOUNDS, math.inf)]
    assert buckets.count == len(everything)
    assert math.isclose(buckets.sum, sum(everything), abs_tol=1e-6)


def test_a_histogram_that_was_read_late_gives_what_it_kept() -> None:
    """The count stays one of values that were seen, so that it agrees with the buckets."""
    histogram, buckets = Histogram(), Distribution(BOUNDS)
    for _ in range(HISTOGRAM_WINDOW + 100):
        histogram.record(1.5)
    buckets.read(histogram)
    assert buckets.cumulative == [0, HISTOGRAM_WINDOW, HISTOGRAM_WINDOW, HISTOGRAM_WINDOW]
    histogram.record(9)
    buckets.read(histogram)
    assert buckets.cumulative[-1] == HISTOGRAM_WINDOW + 1


def test_the_buckets_of_the_process_hold_the_values_of_all_calls() -> None:
    """Two calls at once and one after them; more than one call's own window keeps."""
    process = Metrics()
    buckets = Distribution(BOUNDS)
    for value in (0.5, 1.5):
        call = CallMetrics(process).histogram("wait_ms")
        for _ in range(CALL_WINDOW):
            call.record(value)
    buckets.read(process.histogram("wait_ms"))
    CallMetrics(process).histogram("wait_ms").record(3)
    buckets.read(process.histogram("wait_ms"))
    assert buckets.cumulative == [CALL_WINDOW, 2 * CALL_WINDOW, 2 * CALL_WINDOW + 1, 2 * CALL_WINDOW + 1]


def test_values_become_seconds() -> None:
    """A scale is applied before the bounds."""
    buckets = Distribution((0.02,), scale=0.001)
    buckets.add([20, 21])
    assert buckets.cumulative == [1, 2]
    assert buckets.sum == pytest.approx(0.041)


def test_percentiles_are_those_of_the_last_minute() -> None:
    """Interpolated within a bucket, as Prometheus does; nothing where there was nothing for a minute."""
    buckets = Distribution(BOUNDS)
    assert buckets.recent(50) is None
    for _ in range(100):
        buckets.add([1.5])  # many scrapes are no reason to forget
    assert buckets.recent(50) == pytest.approx(1.5)
    assert buckets.recent(99) == pytest.approx(1.99)
    buckets.add([9.0] * 900)
    assert buckets.recent(50) == 5.0, "more than the last bound is not known"
    assert buckets.recent_count == 1000
    for _ in range(59):
        buckets.next_second()
    assert buckets.recent_count == 1000
    buckets.next_second()
    assert buckets.recent(50) is None
    assert buckets.count == 1000
