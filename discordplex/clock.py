"""Time as a parameter: the bot uses `SystemClock`; tests use a fake clock and never sleep."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A callback that waits for its time."""

    def cancel(self) -> None:
        """Do not call it any more; does nothing after it was called."""
        ...


class Clock(Protocol):
    """A monotonic clock, in seconds. Deadlines are absolute, so errors do not add up."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back. Thread: any."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Return at `deadline` on this clock, or at once if it has passed. Always yields to the loop."""
        ...

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the running loop at `deadline`, or soon if it has passed. It costs half of what a task that sleeps does."""
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

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the running loop at `deadline`, or soon if it has passed."""
        return asyncio.get_running_loop().call_later(deadline - self.now(), callback)
