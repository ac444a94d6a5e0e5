"""A beat that moves to its place: in small steps, not to and fro, never far."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.phase import END_STEPS, PERIOD_S, SLIDE_S, TOLERANCE_S, PhaseAdjuster

RANGE_S = 0.02


@pytest.mark.parametrize("surplus_s", [0.012, -0.012])
def test_it_goes_to_its_place_and_stays(surplus_s: float) -> None:
    """Steps of half a millisecond bring the surplus close to nothing, earlier where it was positive; then nothing moves."""
    slide = PhaseAdjuster(RANGE_S)
    steps = [slide.step(surplus_s + slide.offset_s) for _ in range(60)]
    assert slide.offset_s == pytest.approx(-surplus_s, abs=0.0003)
    assert max(map(abs, steps)) <= SLIDE_S
    assert steps[-20:] == [0.0] * 20


def test_what_is_near_enough_is_left_alone() -> None:
    """Neither an unknown surplus nor a small one begins a slide."""
    slide = PhaseAdjuster(RANGE_S)
    assert [slide.step(surplus_s) for surplus_s in (None, 0.0, TOLERANCE_S * 0.9, -TOLERANCE_S * 0.9)] == [0.0] * 4


def test_a_slide_that_began_is_finished() -> None:
    """A small surplus is not worth a slide, but one that runs ends nearer than that."""
    slide = PhaseAdjuster(RANGE_S)
    assert slide.step(0.0016) == -SLIDE_S
    assert slide.step(0.0011) == -SLIDE_S
    assert slide.step(0.0006) == -SLIDE_S
    assert slide.step(0.0001) == 0.0


def test_at_its_early_end_it_makes_room() -> None:
    """A beat that would be earlier than its range allows goes back by a period, waits for a frame to be dropped, and goes on from there."""
    slide = PhaseAdjuster(RANGE_S)
    lag_s = 0.025  # of the frames behind the beat, at its offset 0
    for _ in range(40 + END_STEPS + 40):
        slide.step(lag_s + slide.offset_s)
    assert slide.offset_s == 0.0
    assert [slide.step(lag_s) for _ in range(30)] == [0.0] * 30
    lag_s -= PERIOD_S  # what the buffer does
    for _ in range(100):
        slide.step(lag_s + slide.offset_s)
    assert slide.offset_s == pytest.approx(-lag_s, abs=0.0003)


def test_at_its_late_end_it_stays() -> None:
    """A beat that would be later than its range allows does not jump about: nothing that is held could be dropped for it."""
    slide = PhaseAdjuster(RANGE_S)
    for _ in range(200):
        slide.step(-0.05 + slide.offset_s)
    assert slide.offset_s == RANGE_S


@given(st.lists(st.one_of(st.none(), st.floats(-1, 1)), max_size=200))
def test_it_never_leaves_its_range(surpluses_s: list[float | None]) -> None:
    """Whatever it is told, it stays within its range, and each step is as long as it says."""
    slide = PhaseAdjuster(RANGE_S)
    place = 0.0
    for surplus_s in surpluses_s:
        place += slide.step(surplus_s)
        assert abs(slide.offset_s) <= RANGE_S
        assert place == pytest.approx(slide.offset_s)
