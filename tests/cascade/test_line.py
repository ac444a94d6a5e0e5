"""First come, first served."""

import asyncio

from discordplex.cascade.line import Line
from discordplex.loopback.clock import settle


async def test_in_order_and_as_soon_as_there_is_one() -> None:
    """Whoever takes waits for the first and gets the oldest."""
    line: Line[int] = Line()
    taking = asyncio.create_task(line.take())
    await settle()
    for item in range(4):
        line.put(item)
    assert await taking == 0
    line.drop_oldest()
    assert len(line) == 2
    assert await line.take() == 2
    line.put(4)
    line.drop(lambda item: item == 3)
    assert list(line) == [4]
    line.drop()
    assert len(line) == 0
