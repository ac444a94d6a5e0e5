"""How far people have heard, by the clock."""

import pytest

from discordplex.audio.playback import LAG_S, Playback


def test_sound_is_played_from_when_it_came() -> None:
    """What was handed over at once is heard bit by bit, and a little after it should have ended it still sounds."""
    playback = Playback()
    assert not playback.is_sounding(10)
    playback.add(1000, 10)
    playback.add(500, 10.2)
    assert playback.left_s(10.4) == pytest.approx(1.1)
    assert playback.left_s(12) == 0
    assert playback.is_sounding(11.5 + LAG_S / 2)
    assert not playback.is_sounding(11.5 + LAG_S * 2)


def test_a_gap_is_not_made_up_for() -> None:
    """Sound that comes after all was played begins anew."""
    playback = Playback()
    playback.add(1000, 10)
    playback.add(1000, 20)
    assert playback.left_s(20) == 1


def test_while_held_nothing_passes() -> None:
    """Held sound stays whole, more can join it, and it goes on where it stopped."""
    playback = Playback()
    playback.add(1000, 10)
    playback.hold(10.4)
    playback.hold(10.6)
    assert playback.left_s(99) == pytest.approx(0.6)
    playback.add(400, 50)
    playback.resume(100)
    playback.resume(100)
    assert playback.left_s(100.5) == pytest.approx(0.5)


def test_held_before_anything_sounds() -> None:
    """Sound that comes while held waits."""
    playback = Playback()
    playback.hold(10)
    assert not playback.is_sounding(10)
    playback.add(1000, 11)
    assert playback.is_sounding(20)
    playback.resume(20)
    assert playback.left_s(20) == 1


def test_what_was_cut_is_over() -> None:
    """Nothing sounds after a cut, held or not."""
    playback = Playback()
    playback.add(1000, 10)
    playback.hold(10.1)
    playback.cut(10.2)
    assert not playback.held
    assert not playback.is_sounding(10.2)
