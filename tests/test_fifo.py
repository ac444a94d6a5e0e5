"""First in, first out."""

import asyncio
from collections.abc import Callable

import pytest

from discordplex.fifo import Fifo
from discordplex.loopback.clock import settle


async def test_in_order_and_as_soon_as_there_is_one() -> None:
    """Whoever takes waits for the first and gets the oldest."""
    fifo: Fifo[int] = Fifo()
    taking = asyncio.create_task(fifo.take())
    await settle()
    for item in range(4):
        fifo.put(item)
    assert await taking == 0
    fifo.drop_oldest()
    assert len(fifo) == 2
    assert await fifo.take() == 2
    fifo.put(4)
    fifo.drop(lambda item: item == 3)
    assert list(fifo) == [4]
    fifo.drop()
    assert len(fifo) == 0


async def test_bytes_count_whatever_leaves() -> None:
    """What was taken, dropped or put later is counted, in order, and the newest is known."""
    fifo: Fifo[bytes] = Fifo(len)
    assert not fifo.drop_oldest()
    for item in (b"1", b"22", b"333", b"22"):
        fifo.put(item)
    assert fifo.held_bytes == 8
    assert list(fifo)[-1] == fifo.newest
    assert fifo.drop_oldest(lambda item: item == b"22")
    assert list(fifo) == [b"1", b"333", b"22"]
    assert not fifo.drop_oldest(lambda item: item == b"none")
    assert await fifo.take() == b"1"
    assert fifo.held_bytes == 5
    fifo.drop(lambda item: item == b"333")
    assert fifo.held_bytes == 2
    fifo.drop()
    assert fifo.newest is None


@pytest.mark.parametrize(
    "leave", [lambda fifo: fifo.drop(), lambda fifo: fifo.drop_oldest(), lambda fifo: asyncio.ensure_future(fifo.take())]
)
async def test_whoever_waits_for_a_place_hears_of_each_that_is_free(leave: Callable[[Fifo[int]], object]) -> None:
    """It goes on once an item was taken or dropped, and not because of an earlier one."""
    fifo: Fifo[int] = Fifo()
    for item in range(3):
        fifo.put(item)
    await fifo.take()
    for step in (leave, lambda fifo: fifo.put(9)):
        waiting = asyncio.create_task(fifo.shorter())
        await settle()
        assert not waiting.done()
        step(fifo)
        await settle()
        assert waiting.done() is (step is leave)
        waiting.cancel()


async def test_a_consumer_waits_again_once_all_was_taken() -> None:
    """After the queue was emptied the next `take` waits for the next item, and lets others run meanwhile."""
    fifo: Fifo[int] = Fifo()
    fifo.put(1)
    assert await fifo.take() == 1
    taking = asyncio.create_task(fifo.take())
    await settle()
    assert not taking.done()
    fifo.put(2)
    assert await taking == 2


def test_items_count_for_nothing_unless_told() -> None:
    """Without sizes the queue holds no bytes."""
    fifo: Fifo[bytes] = Fifo()
    fifo.put(b"123")
    assert (len(fifo), fifo.held_bytes) == (1, 0)
