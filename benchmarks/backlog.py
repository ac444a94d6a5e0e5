"""What becomes of a backlog: the bot stood still for a moment, or the engine did. How long until a frame waits no longer than before."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.bot import NAIVE, OURS
from benchmarks.latency import middle
from benchmarks.recovery import ways_while
from benchmarks.row import Row
from benchmarks.stage import Stage, Talk
from benchmarks.timing import Way

STALL_S = 0.6
BEFORE_S = 2.0
AFTER_S = 3.5
WITHIN_S = 2.0
NEAR_MS = 40.0
"""A wait within two frames of what it was before is no backlog: one is the phase, one may cover the jitter that the stall was."""

Stall = Callable[[Stage, Talk], Awaitable[None]]


async def bot_stands_still(stage: Stage, _: Talk) -> None:
    """Both directions pile up in the kernel."""
    stage.bot.freeze()
    await asyncio.sleep(STALL_S)
    stage.bot.thaw()


async def engine_stands_still(_: Stage, talk: Talk) -> None:
    """The engine reads nothing, and then answers all of it at once."""
    talk.engine.stop_reading()
    await asyncio.sleep(STALL_S)
    talk.engine.read_again()


async def measure() -> list[Row]:
    """The rows about backlogs."""
    rows = []
    for what, stall in (("the bot stood still", bot_stands_still), ("the engine stood still", engine_stands_still)):
        (up_s, down_s), (naive_up_s, naive_down_s) = await after(OURS, stall), await after(NAIVE, stall)
        subject = f"backlog: {what} for {STALL_S * 1000:.0f} ms"
        rows.append(Row(subject, "person -> engine as before after", "s", up_s, WITHIN_S, naive=naive_up_s))
        rows.append(Row(subject, "engine -> person as before after", "s", down_s, WITHIN_S, naive=naive_down_s))
    return rows


async def after(program: Sequence[str], stall: Stall) -> tuple[float, float]:
    """Seconds after a stall until each way is what it was before; `AFTER_S` stands for longer than was watched."""

    async def stand_still(stage: Stage, talk: Talk) -> float:
        await asyncio.sleep(BEFORE_S)
        began = talk.heard[-1].at
        await stall(stage, talk)
        return began

    up, down, began = await ways_while(program, BEFORE_S + STALL_S + AFTER_S, stand_still)
    return settled(up, began, began + STALL_S), settled(down, began, began + STALL_S)


def settled(ways: list[Way], began: float, over: float) -> float:
    """Seconds from the end of the stall to the last wait that is longer than those before it."""
    usual = middle([way.took_ms for way in ways if began - 1.5 < way.left < began - 0.2])
    late = [way.left for way in ways if way.left > over and way.took_ms > usual + NEAR_MS]
    return max(late, default=over) - over
