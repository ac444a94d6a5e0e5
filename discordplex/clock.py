"""Time as a parameter: production passes `SystemClock`, tests own a fake one and never sleep."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock, in seconds. Deadlines are absolute, so drift cannot add up."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back. Thread: any."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Return at `deadline` on this clock, at once where it has passed. Always yields to the loop."""
        ...


class SystemClock:
    """The machine's own clock.

    `perf_counter` and not `monotonic`: before Python 3.13 the latter ticks every 15.6 ms on Windows.
    """

    def now(self) -> float:
        """Seconds on the machine's finest monotonic clock. Thread: any."""
        return time.perf_counter()

    async def sleep_until(self, deadline: float) -> None:
        """Sleep on the running loop until `deadline`; yields once where it has passed."""
        await asyncio.sleep(max(0.0, deadline - self.now()))
