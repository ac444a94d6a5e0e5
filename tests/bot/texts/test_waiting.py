"""What is said about waiting and time."""

import pytest

from discordplex.bot import texts
from discordplex.bot.texts.waiting import Estimate


def test_waiting_names_the_place_and_what_to_expect() -> None:
    """The first in the queue is next; an estimate says what it rests on, and none is made up."""
    assert "number 1 in the queue" in texts.waiting.waiting(1, None)
    assert "I cannot estimate the wait yet" in texts.waiting.waiting(1, None)
    assert "about 5 minutes, judging by recent calls" in texts.waiting.waiting(3, Estimate(290, at_most=False))
    assert "5 minutes at most" in texts.waiting.waiting(3, Estimate(241, at_most=True))


@pytest.mark.parametrize(("seconds", "words"), [(0, "a minute"), (60, "a minute"), (61, "2 minutes"), (3600, "60 minutes")])
def test_times_are_rounded_up(seconds: float, words: str) -> None:
    """Nobody is promised less than it may take."""
    assert texts.waiting.minutes(seconds) == words


def test_the_end_is_announced_in_words() -> None:
    """A minute, or fewer seconds where the box is a short one."""
    assert "ends in a minute" in texts.waiting.time_is_short(60.0)
    assert "ends in 12 seconds" in texts.waiting.time_is_short(12.3)


@pytest.mark.parametrize("name", ["\u3164", "\u200b\u200b", "\u202e \u2066"])
def test_somebody_whose_name_nobody_can_see_is_somebody(name: str) -> None:
    """A sentence about them has its subject."""
    assert texts.calls.stopped(name) == texts.calls.stopped(texts.waiting.SOMEBODY)
    assert texts.calls.listed([name, "Ben"]) == "Somebody and Ben"
