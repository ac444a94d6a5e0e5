"""What the tests of a call's lifetime share."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from discordplex.loopback.clock import settle


@pytest.fixture
async def nothing_is_left() -> AsyncIterator[None]:
    """The test ends without a task of its own."""
    before = asyncio.all_tasks()
    yield
    await settle()
    left = {task.get_name() for task in asyncio.all_tasks() - before - {asyncio.current_task()}}
    assert not left
