"""Whose call ends so that others get their turn."""

from collections.abc import Iterable

import pytest

from discordplex.bot.scheduling.time_limit import NOTICE_S, End, Reprieve, Running, TimeBox, Verdict, Warn

BOX_S = 600.0
A, B, C = 1, 2, 3


def calls(**ages: float) -> list[Running]:
    return [Running({"a": A, "b": B, "c": C}[name], age, BOX_S) for name, age in ages.items()]


def judge(box: TimeBox, now: float, running: Iterable[Running], waiting: int = 1, wanted: frozenset[int] = frozenset()) -> list[Verdict]:
    return box.judge(now, running, waiting=waiting, wanted=wanted)


def test_a_call_is_told_a_minute_before_and_ends() -> None:
    """Not earlier, once, and on time."""
    box = TimeBox()
    assert judge(box, 0, calls(a=BOX_S - NOTICE_S - 1)) == []
    assert judge(box, 1, calls(a=BOX_S - NOTICE_S)) == [Warn(A, NOTICE_S)]
    assert judge(box, 60, calls(a=BOX_S - 1)) == []
    assert judge(box, 61, calls(a=BOX_S)) == [End(A)]


def test_while_nobody_waits_a_call_may_last() -> None:
    """However old; who then comes waits for the notice alone."""
    box = TimeBox()
    assert judge(box, 0, calls(a=9000), waiting=0) == []
    assert judge(box, 10, calls(a=9010)) == [Warn(A, NOTICE_S)]
    assert judge(box, 69, calls(a=9069)) == []
    assert judge(box, 70, calls(a=9070)) == [End(A)]


def test_nobody_waits_any_more() -> None:
    """They are told that they may go on, and get a whole minute when somebody waits again."""
    box = TimeBox()
    judge(box, 0, calls(a=BOX_S))
    assert judge(box, 50, calls(a=BOX_S), waiting=0) == [Reprieve(A)]
    assert judge(box, 55, calls(a=BOX_S)) == [Warn(A, NOTICE_S)]
    assert judge(box, 60, calls(a=BOX_S)) == []


def test_the_oldest_ends_and_no_more_than_wait() -> None:
    """One waits: one call makes way. Who was told stays the one, however the others grow."""
    box = TimeBox()
    assert judge(box, 0, calls(a=700, b=800, c=650)) == [Warn(B, NOTICE_S)]
    assert judge(box, 10, calls(a=900, b=810, c=660)) == []
    assert judge(box, 20, calls(a=910, b=820, c=670), waiting=2) == [Warn(A, NOTICE_S)]
    assert judge(box, 60, calls(a=950, b=860, c=710), waiting=2) == [End(B)]
    assert judge(box, 80, calls(a=970, c=730), waiting=1) == [End(A)]


def test_who_ends_by_themselves_makes_way_too() -> None:
    """A call that is gone is neither ended nor reprieved, and its guild's next call is not told early."""
    box = TimeBox()
    judge(box, 0, calls(a=BOX_S))
    assert judge(box, 10, []) == []
    assert judge(box, 70, calls(a=5)) == []


def test_the_own_guild_waits_for_its_own_call() -> None:
    """An engine may be free: another channel of the guild wants the bot itself, and other guilds' calls are left alone."""
    box = TimeBox()
    assert judge(box, 0, calls(a=700, b=900), waiting=0, wanted=frozenset({A})) == [Warn(A, NOTICE_S)]
    assert judge(box, 60, calls(a=760, b=960), waiting=0, wanted=frozenset({A})) == [End(A)]


@pytest.mark.parametrize(("box_s", "notice_s"), [(10.0, 5.0), (3600.0, NOTICE_S)])
def test_a_short_box_has_a_short_notice(box_s: float, notice_s: float) -> None:
    """Half of it, a minute at most."""
    box = TimeBox()
    assert judge(box, 0, [Running(A, box_s - notice_s - 0.1, box_s)]) == []
    assert judge(box, 1, [Running(A, box_s - notice_s, box_s)]) == [Warn(A, notice_s)]


def test_without_a_box_nobody_is_hurried() -> None:
    """Zero is never."""
    assert judge(TimeBox(), 0, [Running(A, 1e9, 0.0)], waiting=5, wanted=frozenset({A})) == []
