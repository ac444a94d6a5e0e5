"""Named things that happen later."""

from structlog.testing import capture_logs

from discordplex.bot.scheduling.timers import Timers
from discordplex.loopback.clock import FakeClock, settle


async def test_a_name_is_there_once(clock: FakeClock) -> None:
    """The newest of a name counts, a cancelled one does not happen, and one may start its own successor."""
    timers, rung = Timers(clock), list[str]()

    def again() -> None:
        rung.append("again")
        timers.later("b", 1, lambda: rung.append("more"))

    timers.later("a", 1, lambda: rung.append("first"))
    timers.later("a", 2, lambda: rung.append("second"))
    timers.later("b", 3, again)
    timers.later("c", 3, lambda: rung.append("never"))
    timers.cancel("c")
    assert set(timers.names) == {"a", "b"}
    await clock.advance(5)
    assert rung == ["second", "again", "more"]
    assert timers.names == ()
    await timers.close()


async def test_closing_leaves_nothing_behind(clock: FakeClock) -> None:
    """Everything that was to come is cancelled and gone."""
    timers = Timers(clock)
    timers.later("a", 100, lambda: None)
    await timers.close()
    assert "a" not in timers


async def test_a_failure_is_logged_and_concerns_no_other(clock: FakeClock) -> None:
    """What raises is named in the log."""
    timers, rung = Timers(clock), list[str]()

    def broken() -> None:
        raise ZeroDivisionError

    with capture_logs() as logged:
        timers.later("bad", 1, broken)
        timers.later("good", 1, lambda: rung.append("good"))
        await clock.advance(2)
        await settle()
    assert rung == ["good"]
    assert [entry["name"] for entry in logged] == ["bad"]
    await timers.close()
