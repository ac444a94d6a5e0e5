"""Nothing that waits for a task loses a cancellation of its caller."""

import asyncio

import pytest

from discordplex.loopback.clock import settle
from discordplex.tasks import beside, cancel_and_wait, over, wait_for


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_is_kept_however_soon_the_work_ends(turns: int) -> None:
    """The work ends and its caller is cancelled in the same turns of the loop: the caller has ended then."""
    given = asyncio.Event()

    async def serve() -> None:
        while True:
            await wait_for(given.wait(), 60)
            given.clear()

    serving = asyncio.create_task(serve())
    await settle()
    given.set()
    await settle(turns)
    serving.cancel()
    await settle()
    ended = serving.cancelled()
    serving.cancel()
    assert ended


async def test_work_has_its_time_and_its_result() -> None:
    """A result and an exception pass; work that takes longer has ended when TimeoutError is raised."""
    left = asyncio.Event()

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    assert await wait_for(asyncio.sleep(0, "done"), 5) == "done"
    with pytest.raises(ZeroDivisionError):
        await wait_for(failing(), 5)
    with pytest.raises(asyncio.TimeoutError):
        await wait_for(long(), 0.001)
    assert left.is_set()


async def failing() -> None:
    raise ZeroDivisionError


async def test_a_repeated_cancellation_waits_for_the_end() -> None:
    """Whoever is cancelled while a task ends, even twice, is cancelled when it has ended."""
    may_end = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await may_end.wait()

    working = asyncio.create_task(slow())
    await settle()
    ending = asyncio.create_task(cancel_and_wait(working))
    for _ in range(2):
        await settle()
        ending.cancel()
    await settle()
    assert not ending.done()
    may_end.set()
    await settle()
    assert ending.cancelled()
    assert working.done()
    await over(working)


async def test_work_beside_a_block_ends_with_it() -> None:
    """It runs while the block does; at the end it is over, whether it waits or has failed."""
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("ended")

    async with beside(work(), failing()):
        await settle()
        steps.append("block")
    assert steps == ["begun", "block", "ended"]
