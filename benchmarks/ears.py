"""The ears beside an engine: what a speaker costs while they speak, and whether the way to the engine takes longer. On and off by turns."""

from benchmarks.bot import OURS
from benchmarks.latency import many, middle, stage_of
from benchmarks.openai import PROMPT, served
from benchmarks.resources import Chatter, one_call
from benchmarks.row import Row
from benchmarks.stage import Stage
from discordplex.loopback.openai.server import API_KEY

ROUNDS = 3
CALLS_AT_A_TIME = 2
CPU_PERCENT = 1.5
SLOWER_MS = 0.5

OnAndOff = dict[bool, list[float]]
"""Values with the ears, and without."""


async def measure(calls: int, seconds: float) -> list[Row]:
    """The rows of the ears: medians over the rounds. The processor only where the system has a /proc."""
    cpu: OnAndOff = {False: [], True: []}
    memory: OnAndOff = {False: [], True: []}
    up_ms: OnAndOff = {False: [], True: []}
    async with served(PROMPT) as base_url:
        for on in [False, True] * ROUNDS:
            taken = await one_call(Stage(model=Chatter, settings=settings_of(base_url, on=on)), seconds)
            cpu[on].append(taken.cpu_percent)
            memory[on].append(taken.in_call.resident_mib)
        for on in [False, True] * calls:
            ways, _ = await many(stage_of(OURS, settings_of(base_url, on=on)), CALLS_AT_A_TIME)
            up_ms[on] += [middle(one.up_ms) for one in ways]
    return [
        Row("ears", "CPU of one who speaks all the time", "% of a core", more(cpu), CPU_PERCENT, details=rounded(cpu)),
        Row("ears", "person -> engine, slower by", "ms", more(up_ms), SLOWER_MS, details=rounded(up_ms)),
        Row("ears", "memory in a call, more", "MiB", more(memory)),
    ]


def settings_of(base_url: str, *, on: bool) -> dict[str, str]:
    """The bot's settings, with its ears or without."""
    return {
        "DISCORDPLEX_HEARING__ENABLED": str(on).lower(),
        "DISCORDPLEX_CASCADE__BASE_URL": base_url,
        "DISCORDPLEX_CASCADE__API_KEY": API_KEY,
    }


def more(values: OnAndOff) -> float:
    """How much more it is with the ears."""
    return middle(values[True]) - middle(values[False])


def rounded(values: OnAndOff) -> dict[str, list[float]]:
    """All values, for the JSON."""
    return {name: [round(value, 2) for value in values[on]] for name, on in (("off", False), ("on", True))}
