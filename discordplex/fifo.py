"""Fifo: what waits for its one consumer, in order. Its owner decides what is dropped to keep it short. Thread: loop."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


def no_bytes(_item: object) -> int:
    """The size of an item whose size does not matter."""
    return 0


class Fifo(Generic[Item]):
    """First in, first out. Nothing waits to put an item; the consumer waits in `take`."""

    def __init__(self, size_of: Callable[[Item], int] = no_bytes) -> None:
        """`size_of` says how many bytes an item counts for in `held_bytes`."""
        self.held_bytes = 0
        """Bytes of all that waits."""
        self._size_of = size_of
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()
        self._shortened = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @property
    def newest(self) -> Item | None:
        """The item that was put last and still waits."""
        return self._items[-1] if self._items else None

    def put(self, item: Item) -> None:
        """Append an item."""
        self._items.append(item)
        self.held_bytes += self._size_of(item)
        self._filled.set()

    async def take(self) -> Item:
        """The oldest item, as soon as there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        self.held_bytes -= self._size_of(item)
        self._shortened.set()
        return item

    async def shorter(self) -> None:
        """Return when the next item was taken or dropped."""
        self._shortened.clear()
        await self._shortened.wait()

    def drop(self, unwanted: Callable[[Item], bool] = lambda _: True) -> None:
        """Drop every item that is unwanted: all of them unless told."""
        self._items = deque(item for item in self._items if not unwanted(item))
        self.held_bytes = sum(map(self._size_of, self._items))
        self._shortened.set()

    def drop_oldest(self, unwanted: Callable[[Item], bool] = lambda _: True) -> bool:
        """Drop the first item that is unwanted; whether there was one."""
        for index, item in enumerate(self._items):
            if unwanted(item):
                del self._items[index]
                self.held_bytes -= self._size_of(item)
                self._shortened.set()
                return True
        return False
