"""Named timers and background tasks: each name at most once, and none is left at the end."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

import structlog

from discordplex.clock import Clock

log = structlog.get_logger()


class Timers:
    """Tasks by name. Thread: loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._named: dict[Hashable, asyncio.Task[None]] = {}
        self._alive: set[asyncio.Task[None]] = set()

    def __contains__(self, name: Hashable) -> bool:
        return name in self._named

    @property
    def names(self) -> tuple[Hashable, ...]:
        """The names of what is pending."""
        return tuple(self._named)

    def later(self, name: Hashable, delay_s: float, then: Callable[[], None]) -> None:
        """Call `then` after `delay_s`. It replaces what had this name."""
        deadline = self._clock.now() + delay_s

        async def wait() -> None:
            await self._clock.sleep_until(deadline)
            self._named.pop(name, None)
            then()

        self.beside(name, wait())

    def beside(self, name: Hashable, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background. It replaces what had this name. A failure is logged."""
        self.cancel(name)
        task = asyncio.create_task(work, name=f"bot:{name}")
        self._named[name] = task
        self._alive.add(task)
        task.add_done_callback(lambda done: self._finished(name, done))

    def cancel(self, name: Hashable) -> None:
        """Cancel a timer or task. Does nothing if the name is unknown or the timer has fired."""
        task = self._named.pop(name, None)
        if task and task is not asyncio.current_task():
            task.cancel()

    async def close(self) -> None:
        """Cancel everything and wait for its end."""
        for name in self.names:
            self.cancel(name)
        if self._alive:
            await asyncio.wait(self._alive)

    def _finished(self, name: Hashable, task: asyncio.Task[None]) -> None:
        self._alive.discard(task)
        if self._named.get(name) is task:
            del self._named[name]
        if not task.cancelled() and task.exception():
            log.error("scheduled task failed", name=str(name), exc_info=task.exception())
