"""How long a frame takes through the bot, each way, timed from outside: from socket to socket, over calls of random phase."""

import asyncio
import functools
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.bot import NAIVE, OURS
from benchmarks.probe import speech_with_clicks
from benchmarks.row import Row, Spread
from benchmarks.stage import Stage, Timed
from benchmarks.timing import ways_down, ways_up
from discordplex.audio.format import ENGINE
from discordplex.loopback.personaplex.faults import Faults
from discordplex.metrics import percentile

SPEECH_S = 4.5
OUTLIER_MS = 20.0


@dataclass
class Ways:
    """Milliseconds of every click of one call, each way."""

    up_ms: list[float] = field(default_factory=list)
    down_ms: list[float] = field(default_factory=list)


async def measure(calls: int, naive_calls: int) -> list[Row]:
    """The rows of both ways."""
    ours, counted = await many(stage_of(OURS), calls)
    naive, _ = await many(stage_of(NAIVE), naive_calls)
    return [*rows_up(ours, naive, counted), *rows_down(ours, naive, counted), row_both(ours, naive)]


def rows_up(ours: list[Ways], naive: list[Ways], counted: dict[str, object]) -> list[Row]:
    """Person -> engine."""
    medians, worst = of_calls([ways.up_ms for ways in ours])
    naive_medians, naive_worst = of_calls([ways.up_ms for ways in naive])
    every = Spread.of([value for ways in ours for value in ways.up_ms])
    details = {"medians": [round(value, 2) for value in medians], "uplink.wait_ms": counted.get("uplink.wait_ms")}
    return [
        Row(
            "person -> engine",
            "median of the calls' medians",
            "ms",
            Spread.of(medians).p50,
            12.0,
            every,
            Spread.of(naive_medians).p50,
            details=details,
        ),
        Row("person -> engine", "worst call's p99", "ms", max(worst), 25.0, every, max(naive_worst)),
    ]


def rows_down(ours: list[Ways], naive: list[Ways], counted: dict[str, object]) -> list[Row]:
    """Engine -> person."""
    medians, worst = of_calls([ways.down_ms for ways in ours])
    naive_medians, _ = of_calls([ways.down_ms for ways in naive])
    every = Spread.of([value for ways in ours for value in ways.down_ms])
    details = {"medians": [round(value, 2) for value in medians], "playout.hold_ms": counted.get("playout.hold_ms")}
    holes = counted.get("playout.underruns", 0)
    return [
        Row(
            "engine -> person",
            "median of the calls' medians",
            "ms",
            Spread.of(medians).p50,
            30.0,
            every,
            Spread.of(naive_medians).p50,
            details=details,
        ),
        Row("engine -> person", "holes in all calls", "", float(str(holes)), 0.0, details={"worst p99": max(worst)}),
    ]


def row_both(ours: list[Ways], naive: list[Ways]) -> Row:
    """How many calls are slower than the others, both ways together."""
    details = {"medians": [round(value, 1) for value in both_ways(ours)]}
    what = f"of {len(ours)} calls, {OUTLIER_MS:.0f} ms slower than the median"
    return Row("both ways", what, "", outliers(ours), 0.0, naive=outliers(naive), details=details)


def outliers(calls: list[Ways]) -> int:
    """Calls that are slower than the median call by more than `OUTLIER_MS`."""
    both_ms = both_ways(calls)
    return sum(value > middle(both_ms) + OUTLIER_MS for value in both_ms)


def both_ways(calls: list[Ways]) -> list[float]:
    """Each call's median from the person to the engine and from the engine to the person, together."""
    return [middle(ways.up_ms) + middle(ways.down_ms) for ways in calls]


def of_calls(values: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """Each call's median, and each call's p99."""
    found = [Spread.of(call) for call in values if call]
    return [call.p50 for call in found] or [float("nan")], [call.p99 for call in found] or [float("nan")]


def stage_of(program: Sequence[str], settings: Mapping[str, str] | None = None) -> Stage:
    """Two guilds, and engines whose blocks come as unevenly as a real server's."""
    faults = Faults(natural_spacing=True, seed=random.randrange(1 << 30))
    return Stage(program=program, engines=2, guilds=2, faults=faults, settings=settings)


async def many(stage: Stage, calls: int) -> tuple[list[Ways], dict[str, object]]:
    """So many calls with one bot, in two guilds by turns, and what the bot itself counted."""
    found: list[Ways] = []
    async with stage:
        await stage.wait_online()
        for number in itertools.islice(itertools.cycle((0, 1)), calls):
            await stage.discord.wait_for(functools.partial(stage.alone, number))
            async with stage.talk(number) as talk:
                found.append(await one(talk, stage.bot_id))
        counted = await stage.bot.stop()
    return found, counted


async def one(talk: Timed, bot_id: str, seconds: float = SPEECH_S) -> Ways:
    """Speak and listen for so long, and time the clicks."""
    speech, clicked = speech_with_clicks(seconds)
    first_frame = len(talk.person.said.packets())
    await asyncio.sleep(random.uniform(0, ENGINE.frame_seconds))
    await talk.person.say(speech)
    await asyncio.sleep(0.3)
    up = ways_up(talk, talk.person.said.packets()[first_frame:], clicked)
    return Ways([way.took_ms for way in up], [way.took_ms for way in ways_down(talk, bot_id)])


def middle(values: list[float]) -> float:
    """The median, NaN of nothing."""
    found = percentile(values, 50)
    return float("nan") if found is None else found
