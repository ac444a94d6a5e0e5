"""The one limit of how much is done per time."""

from hypothesis import given
from hypothesis import strategies as st

from discordplex.token_bucket import TokenBucket


def test_a_burst_is_allowed_at_once_and_the_rate_afterwards() -> None:
    """All of the burst is there at the start; then so much per second comes back, and never more than the burst."""
    bucket = TokenBucket(per_second=2, burst=3)
    assert [bucket.take(1, 10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(1, 10.4)
    assert bucket.take(1, 10.5)
    assert [bucket.take(1, 1000.0) for _ in range(4)] == [True, True, True, False]


def test_what_does_not_fit_takes_nothing() -> None:
    """A refused amount leaves the rest for a smaller one."""
    bucket = TokenBucket(per_second=0, burst=5)
    assert not bucket.take(6, 0.0)
    assert bucket.take(5, 0.0)
    assert not bucket.take(0.1, 0.0)


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 2)), max_size=30))
def test_no_pattern_gets_more_than_the_burst_and_the_rate(steps: list[tuple[float, float]]) -> None:
    """Over any time no more is taken than the burst and what came back since."""
    bucket, now, taken = TokenBucket(per_second=1, burst=4), 0.0, 0.0
    for amount, pause_s in steps:
        now += pause_s
        taken += amount if bucket.take(amount, now) else 0.0
        assert taken <= 4 + now + 1e-9
