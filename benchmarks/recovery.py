"""A person's network is bad for a while, and then it is good again: how long what they say takes meanwhile, and five seconds later."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from benchmarks.bot import NAIVE, OURS
from benchmarks.latency import middle
from benchmarks.probe import speech_with_clicks
from benchmarks.row import Row
from benchmarks.stage import Stage, Talk
from benchmarks.timing import Way, ways_down, ways_up
from discordplex.loopback.discord.voice.impairments import Impairments

Found = TypeVar("Found")

BEFORE_S = 1.0
BAD_S = 8.0
LEARNING_S = 5.0
CALM_WITHIN_S = 5.0
AFTER_S = CALM_WITHIN_S + 2.0
CALM_MS = 30.0

NETWORKS = {
    "5 % of the packets lost": Impairments(loss=0.05, seed=1),
    "5 % of the packets reordered": Impairments(reorder=0.05, seed=1),
    "packets up to 60 ms late": Impairments(jitter_ms=60, seed=1),
}


async def measure() -> list[Row]:
    """The rows about a network that recovers."""
    rows = []
    for name, network in NETWORKS.items():
        meanwhile_ms, after_ms = await medians(OURS, network)
        naive_meanwhile_ms, naive_after_ms = await medians(NAIVE, network)
        subject = f"{name} for {BAD_S:.0f} s"
        rows.append(Row(subject, "person -> engine meanwhile, median", "ms", meanwhile_ms, naive=naive_meanwhile_ms))
        what = f"person -> engine {CALM_WITHIN_S:.0f} s later, median"
        rows.append(Row(subject, what, "ms", after_ms, CALM_MS, naive=naive_after_ms))
    return rows


async def medians(program: Sequence[str], network: Impairments) -> tuple[float, float]:
    """Milliseconds from a person to the engine: once the bot knows the bad network, and once it has been good again for five seconds."""

    async def worsen_and_mend(stage: Stage, talk: Talk) -> float:
        await asyncio.sleep(BEFORE_S)
        stage.discord.voice.relay.impair(stage.people[0].id, uplink=network)
        await asyncio.sleep(BAD_S)
        stage.discord.voice.relay.impair(stage.people[0].id)
        return talk.heard[-1].at

    up, _, good_from = await ways_while(program, BEFORE_S + BAD_S + AFTER_S, worsen_and_mend)
    return between(up, good_from - BAD_S + LEARNING_S, good_from), between(up, good_from + CALM_WITHIN_S, good_from + AFTER_S)


async def ways_while(
    program: Sequence[str], seconds: float, happen: Callable[[Stage, Talk], Awaitable[Found]]
) -> tuple[list[Way], list[Way], Found]:
    """A person speaks for so long, and `happen` runs meanwhile: the ways up, the ways down, and what it returned."""
    async with Stage(program=program) as stage:
        await stage.wait_online()
        async with stage.talk() as talk:
            speech, clicked = speech_with_clicks(seconds)
            first = len(talk.person.said.packets())
            saying = asyncio.create_task(talk.person.say(speech))
            found = await happen(stage, talk)
            await saying
            await asyncio.sleep(0.3)
            return ways_up(talk, talk.person.said.packets()[first:], clicked), ways_down(talk, stage.bot_id), found


def between(ways: list[Way], start: float, end: float) -> float:
    """The median of what left between these times."""
    return middle([way.took_ms for way in ways if start <= way.left < end])
