"""Waiting with a time limit. TEST_TIME_FACTOR stretches each limit on a machine that is slow or busy."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

FACTOR: Final = float(os.environ.get("TEST_TIME_FACTOR", "1"))


async def wait_for(awaitable: Awaitable[T], timeout_s: float) -> T:
    """What `awaitable` returns. Raises asyncio.TimeoutError after `timeout_s`, stretched."""
    return await asyncio.wait_for(awaitable, timeout_s * FACTOR)


class Changes:
    """Wakes one waiter whenever something has changed, so that nobody polls. Thread: loop."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Something has changed: the waiter looks again."""
        self._changed.set()

    async def until(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Return once `condition()` is true; asked now and after each change. Raises asyncio.TimeoutError after `timeout_s`, stretched."""
        await wait_for(self._until(condition), timeout_s)

    async def _until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()
