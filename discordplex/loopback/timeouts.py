"""How long is waited for what must come: TEST_TIME_FACTOR stretches each limit on a machine that is slow or busy."""

import asyncio
import os
from collections.abc import Awaitable
from typing import Final, TypeVar

T = TypeVar("T")

FACTOR: Final = float(os.environ.get("TEST_TIME_FACTOR", "1"))


async def wait_for(awaitable: Awaitable[T], timeout_s: float) -> T:
    """What `awaitable` gives. Raises asyncio.TimeoutError after `timeout_s`, stretched."""
    return await asyncio.wait_for(awaitable, timeout_s * FACTOR)
