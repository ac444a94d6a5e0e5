"""What is played: more and more calls until pacing fails; more and more people in some calls; more and more guilds around some calls."""

import asyncio
import resource
import time
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmarks.bot import Usage, cpu_percent
from benchmarks.load.cores import Cores, busy_s, has_priority
from benchmarks.load.exposition import Exposition, fetch
from benchmarks.load.scene import Scene, Size
from benchmarks.load.sizing import Window
from benchmarks.row import Spread
from discordplex.audio.format import ENGINE
from discordplex.tasks import cancel_and_wait

SETTLE_S = 4.0
"""After somebody has entered: buffers find their depth, and the bot's phase its place."""

TRIES = 3
"""A window that says nothing, or in which pacing failed, is measured again, at most so often: a busy moment is no limit."""

Tell = Callable[[Window], None]


@dataclass(slots=True)
class Reading:
    """Everything that grows, at one moment."""

    at_s: float
    bot: Usage
    said: Exposition
    core_busy_s: float
    own_cpu_s: float


@dataclass(slots=True)
class Lag:
    """How late this process's loop is, looked at every 20 ms."""

    late_ms: "array[float]" = field(default_factory=lambda: array("d"))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = time.perf_counter() + ENGINE.frame_seconds
            await asyncio.sleep(ENGINE.frame_seconds)
            self.late_ms.append((time.perf_counter() - due) * 1000)


async def ramp(steps: Iterable[int], *, most: int, cores: Cores, seconds: float, e2ee: bool, tell: Tell) -> list[Window]:
    """One bot, with more and more calls of one person each, until pacing fails or a window says nothing."""
    found: list[Window] = []
    async with Scene(Size(calls=most, e2ee=e2ee), cores) as scene:
        for calls in steps:
            while len(scene.calls) < calls:
                await scene.add_call()
            found.append(await judged(scene, seconds))
            tell(found[-1])
            if found[-1].fault or not found[-1].holds:
                break
    return found


async def crowds(people: Iterable[int], *, calls: int, cores: Cores, seconds: float, e2ee: bool, tell: Tell) -> list[Window]:
    """A bot for each number of people in so many calls."""
    return [await one(Size(calls=calls, people=each, e2ee=e2ee), cores, seconds, tell) for each in people]


async def caches(guilds: Iterable[int], *, calls: int, cores: Cores, seconds: float, tell: Tell) -> list[Window]:
    """A bot for each number of guilds that it is in, with so many calls."""
    return [await one(Size(calls=calls, guilds=each), cores, seconds, tell) for each in guilds]


async def one(size: Size, cores: Cores, seconds: float, tell: Tell) -> Window:
    """A bot with all of its calls."""
    async with Scene(size, cores) as scene:
        while len(scene.calls) < size.calls:
            await scene.add_call()
        found = await judged(scene, seconds)
        tell(found)
        return found


async def judged(scene: Scene, seconds: float) -> Window:
    """The first window that holds and says something, else the best one of `TRIES`."""
    await asyncio.sleep(SETTLE_S)
    found: list[Window] = []
    for _ in range(TRIES):
        found.append(await window(scene, seconds))
        if found[-1].holds and not found[-1].fault:
            break
    return min(found, key=lambda window: (window.fault is not None, window.pacing_p99_ms))


async def window(scene: Scene, seconds: float) -> Window:
    """Measure what goes on for so long."""
    lag = Lag()
    task = asyncio.create_task(lag.run())
    try:
        await scene.relay.forget()
        before = await read(scene)
        await asyncio.sleep(seconds)
        after = await read(scene)
    finally:
        await cancel_and_wait(task)
    return between(scene, before, after, lag)


async def read(scene: Scene) -> Reading:
    """What has grown until now."""
    said = await fetch(scene.metrics_port)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return Reading(time.perf_counter(), scene.bot.usage(), said, busy_s(scene.cores.bot), own.ru_utime + own.ru_stime)


def between(scene: Scene, before: Reading, after: Reading, lag: Lag) -> Window:
    """The window from one reading to the next."""
    seconds = after.at_s - before.at_s
    relay, count = scene.relay, after.said.count_since
    pacing = after.said.spread_since(before.said, "voice_tx_lateness_seconds")
    loop_lag = after.said.spread_since(before.said, "event_loop_lag_seconds")
    packets = sum(seat.arrivals.packets for seat in relay.seats_of(scene.bot_id))
    bot_percent = cpu_percent(before.bot, after.bot)
    return Window(
        calls=len(scene.calls),
        people=scene.size.people,
        guilds=len(scene.guilds),
        seconds=round(seconds, 2),
        pacing_p50_ms=pacing.percentile(50) * 1000,
        pacing_p99_ms=pacing.percentile(99) * 1000,
        wire_p99_ms=Spread.of(relay.gaps_ms()).p99,
        packets_per_call_s=packets / seconds / max(1, len(scene.calls)),
        heard_per_call_s=count(before.said, "voice_rx_frames_total") / seconds / max(1, len(scene.calls)),
        cpu_percent=bot_percent,
        resident_mib=after.bot.resident_mib,
        holes=count(before.said, "playout_underruns_total"),
        uplink_skipped=count(before.said, "uplink_skipped_frames_total"),
        loop_lag_p99_ms=loop_lag.percentile(99) * 1000,
        harness_p99_ms=max(Spread.of(relay.late_ms).p99, Spread.of(lag.late_ms).p99),
        read_p99_ms=Spread.of(relay.read_ms).p99,
        harness_cpu_percent=100 * (after.own_cpu_s - before.own_cpu_s) / seconds,
        others_percent=max(0.0, 100 * (after.core_busy_s - before.core_busy_s) / seconds - bot_percent),
        priority=has_priority(),
    )
