"""FakeClock: time that advances only when a test says so."""

import asyncio
import heapq
import itertools


class FakeClock:
    """A `Clock` that its owner advances. Sleepers wake in the order of their deadlines."""

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """The time that `advance` has reached."""
        return self._now

    async def sleep_until(self, deadline: float) -> None:
        """Return once `advance` has reached `deadline`; yields once where it already has."""
        if deadline <= self._now:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (deadline, next(self._order), waiter))
        await waiter

    async def advance(self, seconds: float) -> None:
        """Advance, waking each sleeper at its own deadline and letting it run before time goes further."""
        target = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            deadline, _, waiter = heapq.heappop(self._sleepers)
            self._now = max(self._now, deadline)
            if not waiter.done():
                waiter.set_result(None)
            await settle()
        self._now = target
        await settle()

    async def jump(self, seconds: float) -> None:
        """Advance in one step, as on a machine that was asleep: sleepers wake only at the end."""
        await settle()
        self._now += seconds
        await self.advance(0.0)


async def settle(turns: int = 20) -> None:
    """Let everything that is ready run: a limited number of event loop turns, without any time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)
