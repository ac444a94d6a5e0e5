"""How a call's parts end: an engine that is left in bounded time, and the one cause out of a group of failures."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import structlog

from discordplex.clock import Clock
from discordplex.engine import VoiceEngine

log = structlog.get_logger()

CLOSE_S = 2.0
"""An engine that takes longer to leave is cancelled: a process that is told to end has 5 s for all of its calls."""


@asynccontextmanager
async def opened(engine: VoiceEngine, clock: Clock) -> AsyncIterator[VoiceEngine]:
    """Like `async with engine`, but leaving takes at most `CLOSE_S`, and is not cut short by the cancellation that caused it."""
    await engine.__aenter__()
    try:
        yield engine
    finally:
        kind, error, trace = sys.exc_info()
        if not await within(CLOSE_S, clock, lambda: engine.__aexit__(kind, error, trace)):
            log.warning("engine did not close in time", waited_s=CLOSE_S)


async def within(seconds: float, clock: Clock, work: Callable[[], Awaitable[None]]) -> bool:
    """Do `work` although the caller is cancelled, but cancel it after `seconds`; whether it finished by itself."""
    deadline = clock.now() + seconds
    finished = False
    async with anyio.create_task_group() as tasks:

        async def give_up() -> None:
            await clock.sleep_until(deadline)
            tasks.cancel_scope.cancel()

        tasks.cancel_scope.shield = True
        tasks.start_soon(give_up, name="bridge:deadline")
        await work()
        finished = True
        tasks.cancel_scope.cancel()
    return finished


def cause_of(error: BaseException) -> BaseException:
    """What went wrong first, out of however many groups it was wrapped in."""
    # Before Python 3.11 groups are the backport's: known by what they hold, both kinds are the same.
    while isinstance(inner := getattr(error, "exceptions", None), tuple) and inner:
        error = inner[0]
    return error
