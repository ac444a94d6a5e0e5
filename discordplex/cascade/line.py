"""Line: what waits to be answered, in the order in which it was said."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Line(Generic[Item]):
    """First come, first served, one consumer. Its owner keeps it short."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def put(self, item: Item) -> None:
        """Append an item; never waits."""
        self._items.append(item)
        self._filled.set()

    def drop_oldest(self) -> None:
        """Drop the first item."""
        self._items.popleft()

    def drop(self, unwanted: Callable[[Item], bool] = lambda _: True) -> None:
        """Drop every item that is unwanted: all of them unless told."""
        self._items = deque(item for item in self._items if not unwanted(item))

    async def take(self) -> Item:
        """The first, as soon as there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()
