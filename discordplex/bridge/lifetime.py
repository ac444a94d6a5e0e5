"""How a call's parts end: leaving an engine in limited time, and the first cause within a group of failures."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from discordplex.clock import Clock
from discordplex.engine import VoiceEngine
from discordplex.tasks import cancel_and_wait, over

log = structlog.get_logger()

CLOSE_S = 2.0
"""An engine that takes longer to leave is cancelled: a process that is told to end has 5 s for all of its calls."""


LONG_S = 15.0
"""An engine that takes longer to open is reported, so that people know what they are waiting for."""


@asynccontextmanager
async def opened(engine: VoiceEngine, clock: Clock, tell_long: Callable[[float], None]) -> AsyncIterator[VoiceEngine]:
    """Like `async with engine`, but leaving takes at most `CLOSE_S`, and is not cut short by the cancellation that caused it.

    `tell_long` is called with the seconds that opening has taken so far, once and only where it takes more than `LONG_S`.
    """

    async def watch() -> None:
        await clock.sleep_until(clock.now() + LONG_S)
        tell_long(LONG_S)

    watching = asyncio.create_task(watch(), name="bridge:opening")
    try:
        await engine.__aenter__()
    except BaseException:
        watching.cancel()
        raise
    try:
        watching.cancel()
        await asyncio.gather(
            watching, return_exceptions=True
        )  # inside the `try`, since a cancellation that comes now has to close the engine too
        yield engine
    finally:
        kind, error, trace = sys.exc_info()
        if not await within(CLOSE_S, clock, lambda: engine.__aexit__(kind, error, trace)):
            log.warning("engine did not close in time", waited_s=CLOSE_S)


async def within(seconds: float, clock: Clock, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    """Do `work` even if the caller is or gets cancelled, but cancel it after `seconds`; whether it finished by itself.

    A cancellation of the caller takes effect when `work` is over, however often it is repeated: a half-closed engine would keep its server
    busy.
    """
    doing = asyncio.create_task(work(), name="bridge:closing")
    deadline = asyncio.create_task(clock.sleep_until(clock.now() + seconds), name="bridge:deadline")
    try:
        await over(doing, deadline)
    finally:
        finished = doing.done()
        await cancel_and_wait(doing, deadline)
    if finished:
        doing.result()
    return finished


def cause_of(error: BaseException) -> BaseException:
    """The first failure, out of however many groups it was wrapped in."""
    # Before Python 3.11 groups are the backport's, so both kinds are recognised by their attribute.
    while isinstance(inner := getattr(error, "exceptions", None), tuple) and inner:
        error = inner[0]
    return error
