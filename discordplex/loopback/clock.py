"""FakeClock: time that advances only when a test says so."""

import asyncio
import functools
import heapq
import itertools
from collections.abc import Callable


class FakeTimer:
    """A callback that waits until `FakeClock.advance` has reached its deadline."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not call it any more."""
        self._callback = None

    def fire(self) -> None:
        """Call it, unless it was cancelled."""
        if self._callback is not None:
            self._callback()


class FakeClock:
    """A `Clock` that its owner advances. Sleepers wake in the order of their deadlines."""

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._order = itertools.count()
        self._timers: list[tuple[float, int, FakeTimer]] = []

    def now(self) -> float:
        """The time that `advance` has reached."""
        return self._now

    async def sleep_until(self, deadline: float) -> None:
        """Return once `advance` has reached `deadline`; yields once where it already has."""
        if deadline <= self._now:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        self.call_at(deadline, functools.partial(resolve, waiter))
        await waiter

    def call_at(self, deadline: float, callback: Callable[[], None]) -> FakeTimer:
        """Call `callback` once `advance` has reached `deadline`; soon where it already has."""
        timer = FakeTimer(callback)
        if deadline <= self._now:
            asyncio.get_running_loop().call_soon(timer.fire)
        else:
            heapq.heappush(self._timers, (deadline, next(self._order), timer))
        return timer

    async def advance(self, seconds: float) -> None:
        """Advance, waking each sleeper at its own deadline and letting it run before time goes further."""
        target = self._now + seconds
        await settle()
        while self._timers and self._timers[0][0] <= target:
            deadline, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, deadline)
            timer.fire()
            await settle()
        self._now = max(self._now, target)
        await settle()

    def stand_still(self, seconds: float) -> None:
        """Let time pass while nothing runs, as in a callback that takes so long."""
        self._now += seconds

    async def jump(self, seconds: float) -> None:
        """Advance in one step, as on a machine that was asleep: sleepers wake only at the end."""
        await settle()
        self._now += seconds
        await self.advance(0.0)


def resolve(waiter: asyncio.Future[None]) -> None:
    """End a wait, unless it was cancelled."""
    if not waiter.done():
        waiter.set_result(None)


async def settle(turns: int = 20) -> None:
    """Let everything that is ready run: a limited number of event loop turns, without any time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)
