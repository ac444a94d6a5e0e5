"""Line: what waits to be answered, in the order in which it was said."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Line(Generic[Item]):
    """First come, first served, one consumer. Its owner keeps it short."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Join the end; never waits."""
        self._items.append(item)
        self._filled.set()

    def drop_oldest(self) -> None:
        """Send the first away."""
        self._items.popleft()

    def clear(self) -> None:
        """Send everybody away."""
        self._items.clear()

    async def take(self) -> Item:
        """The first, as soon as there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()
