"""The one back-off."""

import itertools

import pytest

from discordplex.retry import Backoff


def test_waits_double_up_to_the_longest() -> None:
    """The first wait is the shortest, each is twice the one before, and none is longer than the longest."""
    backoff = Backoff(0.25, 3.0)
    assert [backoff.failed() for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_success_begins_anew() -> None:
    """After a reset the next failure counts as the first."""
    backoff = Backoff(1.0, 60.0)
    assert [backoff.failed() for _ in range(3)][-1] == 4.0
    assert backoff.failures == 3
    backoff.reset()
    assert backoff.failures == 0
    assert backoff.failed() == 1.0


@pytest.mark.parametrize(("share", "waits"), [(0.0, [2.0, 4.0, 5.0]), (0.5, [2.1, 4.2, 5.25]), (1.0, [2.2, 4.4, 5.5])])
def test_chance_lengthens_each_wait(share: float, waits: list[float]) -> None:
    """With a jitter of a tenth a wait is up to a tenth longer, never shorter; also the longest, so that nobody tries in step."""
    backoff = Backoff(2.0, 5.0, jitter=0.1, chance=lambda: share)
    assert [backoff.failed() for _ in range(3)] == pytest.approx(waits)


def test_each_wait_has_its_own_chance() -> None:
    """Chance is asked anew for each wait."""
    chances = itertools.cycle([0.0, 1.0])
    backoff = Backoff(1.0, 1.0, jitter=0.5, chance=lambda: next(chances))
    assert [backoff.failed() for _ in range(4)] == [1.0, 1.5, 1.0, 1.5]


def test_a_streak_without_end_stays_at_the_longest() -> None:
    """Weeks of failures do not overflow, and do not make the wait grow."""
    backoff = Backoff(0.001, 30.0)
    assert [backoff.failed() for _ in range(5000)][-1] == 30.0
