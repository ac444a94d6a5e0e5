"""When a call goes on in the next conversation."""

import pytest

from discordplex.bridge.handover_timing import HandoverRule, HandoverTiming, NextStep


@pytest.mark.parametrize(
    ("at", "pause_s", "has_spare", "step"),
    [
        (179, 60, True, NextStep.WAIT),
        (180, 0, True, NextStep.PREPARE),
        (180, 2.9, False, NextStep.WAIT),
        (180, 3, False, NextStep.RENEW),
        (239, 0.4, False, NextStep.WAIT),
        (240, 0.4, False, NextStep.RENEW),
        (269, 0, False, NextStep.WAIT),
        (270, 0, False, NextStep.RENEW),
        (270, 0, True, NextStep.RENEW),
    ],
)
def test_when_the_next_conversation_is_prepared(at: float, pause_s: float, has_spare: bool, step: NextStep) -> None:  # noqa: FBT001
    """From three quarters of the memory on; in place only in a long pause, at the end in a short one, half a minute later anyhow."""
    assert HandoverTiming(HandoverRule(), 240, 0).without_next(at, pause_s, has_spare=has_spare) is step


@pytest.mark.parametrize(
    ("at", "pause_s", "takes_turns", "step"),
    [
        (190, 0.3, False, NextStep.WAIT),
        (190, 0.4, False, NextStep.TAKE_OVER),
        (190, 0.4, True, NextStep.WAIT),
        (190, 3.0, True, NextStep.TAKE_OVER),
        (218, 0.0, False, NextStep.WAIT),
        (219, 0.0, False, NextStep.CROSSFADE),
        (218, 0.4, True, NextStep.WAIT),
        (219, 0.4, True, NextStep.TAKE_OVER),
        (400, 0.0, True, NextStep.WAIT),
    ],
)
def test_when_the_next_conversation_takes_over(at: float, pause_s: float, takes_turns: bool, step: NextStep) -> None:  # noqa: FBT001
    """In the first pause of everybody, half a minute after it was ready in the middle of a word; one that takes turns is never cut."""
    assert HandoverTiming(HandoverRule(), 240, 0).with_next(at, pause_s, ready_at=189, takes_turns=takes_turns) is step


def test_a_memory_that_ended_leaves_a_moment_for_a_pause() -> None:
    """A handshake that took too long is no reason to cut a word at once."""
    timing = HandoverTiming(HandoverRule(), 10, 0)
    steps = [timing.with_next(at, 0, ready_at=12, takes_turns=False) for at in (12, 13.9, 14)]
    assert steps == [NextStep.WAIT, NextStep.WAIT, NextStep.CROSSFADE]


def test_a_next_conversation_that_fails_is_tried_again_later_and_later() -> None:
    """Four times, then the conversation is renewed in place."""
    timing, now, waits = HandoverTiming(HandoverRule(), 240, 0), 180.0, []
    while timing.without_next(now, 5, has_spare=True) is NextStep.PREPARE:
        timing.failed(now)
        began = now
        while timing.without_next(now, 5, has_spare=True) is NextStep.WAIT:
            now += 0.5
        waits.append(now - began)
    assert waits[:3] == [2, 4, 8]
    assert len(waits) == 4
    assert timing.without_next(now, 5, has_spare=True) is NextStep.RENEW


def test_a_next_conversation_that_takes_long_to_open_is_begun_earlier() -> None:
    """As a long role does: by the time that the live one took, and not before a quarter of the memory."""
    due = [HandoverTiming(HandoverRule(), memory_s, 0, opening_s).due_at for memory_s, opening_s in ((232, 9), (75, 30), (75, 120))]
    assert due == [pytest.approx(174), pytest.approx(30), pytest.approx(18.75)]
    late = HandoverTiming(HandoverRule(), 75, 0, 30)
    assert late.without_next(40, 60, has_spare=False) is NextStep.WAIT
    assert [late.is_late(now, began) for now, began in ((104, 0), (105, 61), (106, 61))] == [False, False, True]
