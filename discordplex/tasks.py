"""Waiting for tasks without losing a cancellation of the caller, on every Python.

A cancel scope of anyio that is cancelled swallows every cancellation before Python 3.11, and `asyncio.wait_for` swallows one that comes as
its work ends before Python 3.12. A task that goes on after that is waited for without end.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def wait_for(work: Coroutine[Any, Any, T], timeout_s: float | None) -> T:
    """What `work` returns. Raises asyncio.TimeoutError where it takes longer (None: any time); then it is cancelled, and has ended."""
    working = asyncio.create_task(work)
    try:
        ended, _ = await asyncio.wait({working}, timeout=timeout_s)
    finally:
        await cancel_and_wait(working)
    if working.cancelled() and not ended:
        raise asyncio.TimeoutError
    return working.result()


async def until(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """What `work` returns. If `stop` is set first, `work` is cancelled and this returns None. Raises what `work` raised."""
    working, stopping = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        await cancel_and_wait(working, stopping)


@asynccontextmanager
async def beside(*work: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Do this while the block runs. At its end it is cancelled and has ended; what it raises before is dropped."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        await cancel_and_wait(*tasks)


async def cancel_and_wait(*tasks: asyncio.Future[Any]) -> None:
    """Cancel the tasks that are not over, and wait for the end of each. A cancellation of the caller takes effect then."""
    for task in tasks:
        task.cancel()
    await over(asyncio.gather(*tasks, return_exceptions=True))


async def over(*futures: asyncio.Future[Any]) -> None:
    """Wait until one of them is over. A cancellation of the caller, however often it is repeated, takes effect then."""
    cancellation: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not any(future.done() for future in futures):
            try:
                await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError as error:
                cancellation = error
    if cancellation is not None:
        raise cancellation
