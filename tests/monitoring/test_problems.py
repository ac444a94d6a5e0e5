"""What went wrong in the last hour."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from discordplex import logs
from discordplex.monitoring.problems import ADVICE, LIBRARY, MOST, MOST_CODES, OTHER, Problems, is_problem

HOUR = 3600.0


def line(event: str, level: str = "warning", **more: object) -> dict[str, object]:
    return {"event": event, "level": level, **more}


def test_equal_problems_are_one_with_a_count() -> None:
    """The newest first; another cause is another problem."""
    found = Problems()
    for second in range(3):
        found.note(line("engine lost", cause="stalled"), now=second)
    found.note(line("engine lost", cause="refused"), now=9)
    assert [(one.code, one.cause, one.count, one.last) for one in found.last_hour(10)] == [
        ("engine lost", "refused", 1, 9),
        ("engine lost", "stalled", 3, 2),
    ]
    assert found.last_hour(10)[0].advice == ADVICE["engine lost"]
    assert found.totals == {"engine lost": 4}


@pytest.mark.parametrize(
    ("cause", "shown"),
    [
        ("HTTP 500", True),
        ("ConnectionRefusedError (ECONNREFUSED)", True),
        ("messages.py:120", True),
        ("The database /home/anna/bot.db cannot be opened.", False),
        ("wss://gpu.example:8998/api/chat", False),
        ("anna@example.org", False),
        ("x" * 81, False),
    ],
)
def test_a_cause_that_may_name_a_place_stays_in_the_log(cause: str, *, shown: bool) -> None:
    """The page may hang on a wall; a code is enough to look it up."""
    found = Problems()
    found.note(line("database failed", cause=cause), now=0)
    assert found.last_hour(0)[0].cause == (cause if shown else "")


def test_an_hour_later_it_is_gone() -> None:
    """To the minute, and the total stays."""
    found = Problems()
    found.note(line("call failed"), now=0)
    found.note(line("call failed"), now=HOUR / 2)
    assert [one.count for one in found.last_hour(HOUR - 61)] == [2]
    assert [one.count for one in found.last_hour(HOUR + 60)] == [1]
    assert found.last_hour(2 * HOUR) == []
    assert found.totals["call failed"] == 2


def test_a_flood_is_bounded() -> None:
    """A million different causes, and codes that are never the same: both have a limit."""
    found = Problems()
    for number in range(3 * MOST):
        found.note(line("problem in a call", cause=f"cause {number}"), now=number)
        found.note(line(f"code {number}"), now=number)
    kept = found.last_hour(3 * MOST)
    assert len(kept) == MOST
    assert kept[0].code == f"code {3 * MOST - 1}"
    assert len(found.totals) == MOST_CODES + 1
    assert found.totals.total() == 6 * MOST
    assert found.totals[OTHER] > MOST
    found.note(line("x" * 100_000, cause="y" * 100_000), now=999)
    assert len(found.last_hour(999)[0].code) <= 200
    assert len(found.last_hour(999)[0].cause) <= 200


@pytest.fixture
def heard() -> Iterator[list[dict[str, object]]]:
    found: list[dict[str, object]] = []
    logs.set_up("json", "info", io.StringIO())
    with logs.observed(lambda one: found.append(dict(one))):
        yield found
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(handler)


def test_observers_hear_masked_lines(heard: list[dict[str, object]]) -> None:
    """Our own lines and those of libraries, without the texts that a library filled in."""
    log = structlog.get_logger()
    log.info("call started", guild=5)
    log.warning("service failed", cause="HTTP 500", url="https://anna:hush@example.org/")
    logging.getLogger("library").warning("got %s from %d", "secret speech", 7)
    assert [is_problem(one) for one in heard] == [False, True, True]
    assert "hush" not in str(heard)
    assert "secret speech" not in str(heard)
    problems = Problems()
    for one in heard[1:]:
        problems.note(one, now=0)
    assert [(one.code, one.cause) for one in problems.last_hour(0)] == [(LIBRARY, "library"), ("service failed", "HTTP 500")]


def test_nobody_hears_after_the_block(heard: list[dict[str, object]]) -> None:
    """An observer that left is not called."""
    with logs.observed(lambda _: pytest.fail("it is gone")):
        pass
    structlog.get_logger().warning("call failed")
    assert len(heard) == 1
