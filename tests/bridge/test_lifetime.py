"""How an engine is opened and left, whatever happens meanwhile."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from discordplex.bridge.lifetime import opened
from discordplex.clock import SystemClock

if TYPE_CHECKING:
    from discordplex.engine import VoiceEngine


class Door:
    """As much of an engine as is opened and left. Whoever opens it is cancelled after so many steps of the loop."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.is_open = False

    async def __aenter__(self) -> None:
        """Open at once."""
        self.is_open = True
        self.cancel_after(self.steps, asyncio.current_task())

    async def __aexit__(self, *_: object) -> None:
        """Close after a while."""
        await asyncio.sleep(0)
        self.is_open = False

    def cancel_after(self, steps: int, task: "asyncio.Task[None] | None") -> None:
        assert task is not None
        if steps:
            asyncio.get_running_loop().call_soon(self.cancel_after, steps - 1, task)
        else:
            task.cancel()


@pytest.mark.parametrize("steps", range(6))
async def test_an_engine_that_has_just_opened_is_left_by_a_cancellation(steps: int) -> None:
    """At whichever step of the loop it comes: what is open is closed again, or its server stays busy for everybody."""
    door = Door(steps)

    async def call() -> None:
        async with opened(cast("VoiceEngine", door), SystemClock(), lambda _: None):
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not door.is_open
