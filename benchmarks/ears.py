"""The ears beside an engine: what a speaker costs while they speak, and whether the way to the engine takes longer. On and off by turns."""

from benchmarks.bot import OURS
from benchmarks.latency import many, middle, stage_of
from benchmarks.openai import PROMPT, served
from benchmarks.resources import Chatter, one_call
from benchmarks.row import Row
from benchmarks.stage import Stage
from discordplex.loopback.openai.server import API_KEY

ROUNDS = 3
CPU_PERCENT = 1.5
SLOWER_MS = 0.5


async def measure(calls: int, seconds: float) -> list[Row]:
    """The rows of the ears: medians over the rounds. The processor only where the system has a /proc."""
    cpu: dict[bool, list[float]] = {False: [], True: []}
    memory: dict[bool, list[float]] = {False: [], True: []}
    up_ms: dict[bool, list[float]] = {False: [], True: []}
    async with served(PROMPT) as base_url:
        for on in [False, True] * ROUNDS:
            settings = {
                "DISCORDPLEX_HEARING__ENABLED": str(on).lower(),
                "DISCORDPLEX_CASCADE__BASE_URL": base_url,
                "DISCORDPLEX_CASCADE__API_KEY": API_KEY,
            }
            taken = await one_call(Stage(model=Chatter, settings=settings), seconds)
            cpu[on].append(taken.cpu_percent)
            memory[on].append(taken.in_call.resident_mib)
            ways, _ = await many(stage_of(OURS, settings), calls)
            up_ms[on] += [middle(one.up_ms) for one in ways]
    details = {"off": [round(value, 2) for value in up_ms[False]], "on": [round(value, 2) for value in up_ms[True]]}
    shares = {"off": [round(value, 2) for value in cpu[False]], "on": [round(value, 2) for value in cpu[True]]}
    return [
        Row(
            "ears", "CPU of one who speaks all the time", "% of a core", middle(cpu[True]) - middle(cpu[False]), CPU_PERCENT, details=shares
        ),
        Row("ears", "person -> engine, slower by", "ms", middle(up_ms[True]) - middle(up_ms[False]), SLOWER_MS, details=details),
        Row("ears", "memory in a call with them", "MiB", middle(memory[True]) - middle(memory[False])),
    ]
