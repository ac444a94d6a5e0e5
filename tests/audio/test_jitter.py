"""Jitter is told from pauses, stalls and bursts."""

import pytest

from discordplex.audio.jitter import WINDOW_S, JitterEstimator

BLOCK_S = 0.08


def observed(*offsets_ms: float, chunk_s: float = BLOCK_S) -> JitterEstimator:
    lateness = JitterEstimator(band_s=0.17)
    for number, offset_ms in enumerate(offsets_ms):
        lateness.observe(number * chunk_s, chunk_s, number * chunk_s + offset_ms / 1000)
    return lateness


def spread_ms(lateness: JitterEstimator) -> float:
    return round(lateness.spread * 1000, 6)


def test_an_even_stream_has_no_spread() -> None:
    """Chunks that come as fast as they last are not late, whatever the first one's moment."""
    assert spread_ms(observed(500, 500, 500)) == 0


def test_spread_is_latest_against_earliest() -> None:
    """The order in which they come does not matter."""
    assert spread_ms(observed(30, 10, 50, 20)) == 40
    assert spread_ms(observed(50, 10)) == 40
    assert observed(30, 10, 50).late_by(0.24, 0.24 + 0.015) == pytest.approx(0.005)


def test_what_is_old_is_forgotten() -> None:
    """A late chunk counts for two and a half seconds of audio and no longer."""
    calm = [0.0] * int(WINDOW_S / BLOCK_S - 1)
    assert spread_ms(observed(100, *calm)) == 100
    assert spread_ms(observed(100, *calm, 0, 0, 0)) == 0


def test_a_stall_and_its_burst_are_no_jitter() -> None:
    """A second of stall, then all at once, then on time: the spread is the jitter from before."""
    assert spread_ms(observed(0, 5, 0, 1000, 920, 840, 760, 600, 400, 200, 5, 0, 5, 0)) == 5


def test_a_pause_is_no_jitter() -> None:
    """A producer whose clock stood still for three seconds goes on as before."""
    lateness = observed(0, 5, 0, 5, 3000, 3005, 3000, 3005)
    assert spread_ms(lateness) == 5
    assert lateness.earliest == pytest.approx(3)


def test_the_latest_of_many_are_not_waited_for() -> None:
    """Where two in a hundred are tolerated, the spread is that of the others, in whatever order they came, and so after a pause."""
    lateness = JitterEstimator(band_s=0.17, tolerated=0.02)
    for number in range(100):
        offset_s = {20: 0.08, 70: 0.05, 40: 0.012}.get(number, 0.01 * (number % 2))
        lateness.observe(number * 0.02, 0.02, number * 0.02 + offset_s)
    assert spread_ms(lateness) == 12
    lateness.restart()
    assert spread_ms(lateness) == 12


def test_a_told_pause_keeps_what_is_known() -> None:
    """After restart the next chunk is not late, however early or late; the spread stays."""
    lateness = observed(0, 30, 0)
    lateness.restart()
    assert lateness.late_by(0.24, 9.0) == 0
    lateness.observe(0.24, BLOCK_S, 9.0)
    assert spread_ms(lateness) == 30
    assert lateness.earliest == pytest.approx(9.0 - 0.24)


def test_an_earlier_stream_replaces_a_later_one() -> None:
    """When chunks suddenly come half a second sooner, the old ones count no more."""
    assert spread_ms(observed(500, 510, 505, 0, 3, 0)) == 3


@pytest.mark.parametrize("pieces", [2, 4])
def test_pieces_of_a_step_are_one_arrival(pieces: int) -> None:
    """A model step in several messages at once has no more spread than in one."""
    lateness = JitterEstimator(band_s=0.17)
    for number in range(80):
        step, piece = divmod(number, pieces)
        lateness.observe((step * pieces + piece) * BLOCK_S / pieces, BLOCK_S / pieces, step * BLOCK_S + 0.0005 * piece)
    assert spread_ms(lateness) == 0


def test_what_is_remembered_fades() -> None:
    """A spread that was told counts as long as one that was seen."""
    lateness = observed(0, 0)
    lateness.remember(0.1)
    lateness.remember(0.05)
    assert spread_ms(lateness) == 100
    for number in range(2, int(WINDOW_S / BLOCK_S) + 5):
        lateness.observe(number * BLOCK_S, BLOCK_S, number * BLOCK_S)
    assert spread_ms(lateness) == 0
