"""How long somebody will wait, as far as that can honestly be told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.bot.scheduling.wait_estimate import FEWEST_CALLS, MOST_CALLS, Lengths, estimate
from discordplex.bot.texts.waiting import Estimate


def lengths_of(*seconds: float) -> Lengths:
    lengths = Lengths()
    for one in seconds:
        lengths.add(one)
    return lengths


def test_nothing_is_made_up() -> None:
    """After too few calls, or while none runs, nobody can tell."""
    assert estimate(1, ages_s=[10], lengths=lengths_of(*[300] * (FEWEST_CALLS - 1))) is None
    assert estimate(1, ages_s=[], lengths=lengths_of(300, 300, 300)) is None


def test_the_next_waits_for_the_call_that_ends_first() -> None:
    """With calls of 300 s, one that is 200 s old makes way in 100; the second waits for the other, the third for a whole call more."""
    lengths = lengths_of(300, 300, 300)
    expected = [estimate(number, ages_s=[200, 50], lengths=lengths) for number in (1, 2, 3, 4)]
    assert expected == [Estimate(seconds, at_most=False) for seconds in (100, 250, 400, 550)]


def test_an_old_call_is_judged_by_those_that_grew_older() -> None:
    """The short calls of before say nothing of one that has outlived them; one older than all is expected to last as long again."""
    lengths = lengths_of(60, 60, 660)
    assert lengths.left_s(0) == 260
    assert lengths.left_s(60) == 600
    assert lengths.left_s(900) == 900


def test_the_time_box_alone_gives_a_limit() -> None:
    """Without experience the box says the longest that it can be; with it, the shorter of both counts."""
    assert estimate(1, ages_s=[100], lengths=Lengths(), box_s=600) == Estimate(500, at_most=True)
    assert estimate(2, ages_s=[100], lengths=Lengths(), box_s=600) == Estimate(1100, at_most=True)
    assert estimate(1, ages_s=[700], lengths=Lengths(), box_s=600) == Estimate(0, at_most=True)
    assert estimate(1, ages_s=[100], lengths=lengths_of(120, 120, 120), box_s=600) == Estimate(20, at_most=False)
    assert estimate(1, ages_s=[100], lengths=lengths_of(9000, 9000, 9000), box_s=600) == Estimate(500, at_most=False)


def test_only_recent_calls_count() -> None:
    """What was usual yesterday need not be today."""
    assert lengths_of(*[9000] * 50, *[60] * MOST_CALLS).left_s(0) == 60


@given(
    ages=st.lists(st.floats(0, 1e4), min_size=1, max_size=5),
    past=st.lists(st.floats(1, 1e4), min_size=3, max_size=8),
    box=st.sampled_from([0.0, 600.0]),
)
def test_who_stands_further_back_never_waits_less(ages: list[float], past: list[float], box: float) -> None:
    """Whatever is known, the estimates rise with the number and are never negative."""
    waits = [estimate(number, ages_s=ages, lengths=lengths_of(*past), box_s=box) for number in range(1, 8)]
    seconds = [wait.seconds for wait in waits if wait]
    assert len(seconds) == 7
    assert seconds == pytest.approx(sorted(seconds))
    assert seconds[0] >= 0
