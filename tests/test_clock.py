"""The system clock and the fake one."""

import asyncio

from discordplex.clock import SystemClock
from discordplex.loopback.clock import FakeClock


async def test_a_passed_deadline_still_yields() -> None:
    """Sleeping until a moment that has passed lets others run once."""
    ran: list[str] = []
    for clock in (SystemClock(), FakeClock()):
        other = asyncio.ensure_future(note(ran))
        await clock.sleep_until(clock.now() - 1)
        await asyncio.sleep(0)
        assert ran.pop() == "ran"
        await other


async def note(ran: list[str]) -> None:
    ran.append("ran")


def test_the_system_clock_never_goes_back() -> None:
    """Each reading is at least the one before."""
    clock = SystemClock()
    readings = [clock.now() for _ in range(1000)]
    assert readings == sorted(readings)


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    """Fake time stops at each deadline, and a woken sleeper sees its own."""
    clock = FakeClock(now=0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, deadline: float) -> None:
        await clock.sleep_until(deadline)
        woken.append((name, clock.now()))

    tasks = [asyncio.ensure_future(sleeper("late", 2)), asyncio.ensure_future(sleeper("early", 1))]
    await clock.advance(1.5)
    assert woken == [("early", 1)]
    await clock.advance(1.5)
    assert woken == [("early", 1), ("late", 2)]
    assert clock.now() == 3
    await asyncio.gather(*tasks)


async def test_a_timer_is_called_at_its_deadline_unless_it_is_cancelled() -> None:
    """On both clocks; one whose deadline has passed is called soon, and never before `call_at` returns."""
    called: list[str] = []
    fake, real = FakeClock(), SystemClock()
    fake.call_at(fake.now() + 1, lambda: called.append("due"))
    fake.call_at(fake.now() + 1, lambda: called.append("cancelled")).cancel()
    for clock in (fake, real):
        clock.call_at(clock.now() - 1, lambda: called.append("passed"))
        clock.call_at(clock.now() - 1, lambda: called.append("cancelled")).cancel()
    assert not called
    await fake.advance(0.9)
    assert called == ["passed", "passed"]
    await fake.advance(0.2)
    assert called == ["passed", "passed", "due"]
