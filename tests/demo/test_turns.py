"""Who speaks right now."""

import pytest

from discordplex.audio.format import ENGINE
from discordplex.demo.turns import TurnTracker

LOUD = b"\x00\x20" * ENGINE.frame_samples


def test_a_wait_is_from_the_last_word_to_the_first_sound() -> None:
    """The latency is known with the first audible frame of the answer, and not changed by the next."""
    turns = TurnTracker()
    for frame in range(10):
        turns.heard("person", LOUD, 1.0 + frame * 0.02)
    turns.heard("person", ENGINE.silence, 1.2)
    turns.heard("bot", ENGINE.silence, 1.3)
    for frame in range(5):
        turns.heard("bot", LOUD, 1.68 + frame * 0.02)
    assert turns.latency_ms == pytest.approx(500)


def test_a_bot_that_speaks_first_answers_nothing() -> None:
    """Without a word of the person there is no wait."""
    turns = TurnTracker()
    turns.heard("bot", LOUD, 1.0)
    assert turns.latency_ms is None


def test_a_voice_speaks_until_a_real_pause() -> None:
    """A pause between words is still speech."""
    turns = TurnTracker()
    turns.heard("bot", LOUD, 1.0)
    assert turns.bot.speaks(1.3)
    assert not turns.bot.speaks(1.5)


def test_levels_show_the_loudest_of_each_stretch() -> None:
    """The newest stretch stands last; what is older than the window is left out."""
    turns = TurnTracker()
    for at_s, pcm in ((0.0, LOUD), (9.75, LOUD), (9.78, ENGINE.silence), (9.95, ENGINE.silence)):
        turns.heard("bot", pcm, at_s)
    assert turns.bot.levels(10.0, 4, 0.1) == [0.0, 0.25, 0.0, 0.0]
