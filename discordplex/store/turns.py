"""PrioritySemaphore: who may use the database's connections next. Urgent work comes first, and places are reserved for it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PrioritySemaphore:
    """At most `places` pieces of work at once. Ordinary work leaves `reserved` places free. All methods: the event loop's thread.

    Urgent work comes before ordinary work; otherwise the order is first come, first served.
    """

    def __init__(self, places: int, *, reserved: int = 0) -> None:
        self._free = places
        self._reserved = reserved
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._ordinary: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside the `with` block."""
        mine = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._ordinary).append(mine)
        self._admit()
        try:
            await mine
            yield
        finally:
            if not mine.done():
                mine.cancel()
            if not mine.cancelled():
                self._free += 1
            self._admit()

    def _admit(self) -> None:
        while (queue := self._next()) is not None:
            first = queue.popleft()
            if not first.done():
                first.set_result(None)
                self._free -= 1

    def _next(self) -> deque[asyncio.Future[None]] | None:
        if self._urgent and self._free > 0:
            return self._urgent
        if self._ordinary and self._free > self._reserved:
            return self._ordinary
        return None
