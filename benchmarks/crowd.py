"""Ten calls at once in one bot: how late its pacing is, what each further call takes. Then one call, for comparison."""

import asyncio
import contextlib

from benchmarks.bot import cpu_percent
from benchmarks.resources import Chatter, endless
from benchmarks.row import Row, Spread
from benchmarks.stage import Stage, Talk

CALLS = 10
TOGETHER_S = 8.0
SETTLE_S = 2.0


async def measure(calls: int = CALLS) -> list[Row]:
    """The rows about many calls; memory and processor only where the system has a /proc."""
    alone = await together(1)
    crowd = await together(calls)
    rows = [
        Row("pacing lateness", "1 call, p99", "ms", alone.lateness_ms["p99"], 5.0, spread_of(alone.lateness_ms)),
        Row("pacing lateness", f"{calls} calls, p99", "ms", crowd.lateness_ms["p99"], 5.0, spread_of(crowd.lateness_ms)),
    ]
    if crowd.resident_mib and alone.resident_mib:
        each = (crowd.resident_mib - alone.resident_mib) / (calls - 1)
        rows.append(Row("memory", "each further call", "MiB", each, 2.0))
        rows.append(Row("CPU", f"{calls} calls, each", "% of a core", crowd.cpu_percent / calls))
    return rows


class Crowd:
    """What a bot with so many calls said and used."""

    def __init__(self, counted: dict[str, object], cpu: float, resident_mib: float) -> None:
        found = counted.get("voice.tx.lateness_ms")
        self.lateness_ms: dict[str, float] = found if isinstance(found, dict) else {"p99": float("nan")}
        self.cpu_percent = cpu
        self.resident_mib = resident_mib


def spread_of(summary: dict[str, float]) -> Spread:
    """The bot's own summary of a histogram."""
    return Spread(int(summary.get("count", 0)), *(summary.get(name, float("nan")) for name in ("p50", "p95", "p99", "max")))


async def together(calls: int) -> Crowd:
    """So many calls, each in a guild of its own with an engine of its own, everybody speaking."""
    async with contextlib.AsyncExitStack() as exits:
        stage = await exits.enter_async_context(Stage(engines=calls, guilds=calls, model=Chatter))
        await stage.wait_online()
        talks: list[Talk] = [await exits.enter_async_context(stage.talk(number)) for number in range(calls)]
        speech = endless(TOGETHER_S + SETTLE_S + 2)
        saying = [asyncio.create_task(talk.person.say(speech)) for talk in talks]
        await asyncio.sleep(SETTLE_S)
        with contextlib.suppress(OSError):
            before = stage.bot.usage()
        await asyncio.sleep(TOGETHER_S)
        cpu = resident_mib = 0.0
        with contextlib.suppress(OSError):
            after = stage.bot.usage()
            cpu, resident_mib = cpu_percent(before, after), after.resident_mib
        for talk in talks:
            talk.person.stop_speaking()
        await asyncio.gather(*saying)
        return Crowd(await stage.bot.stop(), cpu, resident_mib)
