"""Time as a parameter: the bot uses `SystemClock`; tests use a fake clock and never sleep."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock, in seconds. Deadlines are absolute, so errors do not add up."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back. Thread: any."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Return at `deadline` on this clock, or at once if it has passed. Always yields to the loop."""
        ...


class SystemClock:
    """The machine's own clock.

    It uses `perf_counter` instead of `monotonic`, which ticks every 15.6 ms on Windows before Python 3.13.
    """

    now = staticmethod(time.perf_counter)
    """Seconds on the machine's finest monotonic clock. Thread: any. Not a method of ours: every frame asks for it several times."""

    async def sleep_until(self, deadline: float) -> None:
        """Sleep on the running loop until `deadline`; yields once if it has passed."""
        await asyncio.sleep(max(0.0, deadline - self.now()))
