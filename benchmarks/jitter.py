"""An engine whose blocks come late by 0 to 150 ms at random.

Holes while the bot learns, holes afterwards, how long it holds, and how soon it lets go again once the engine is calm.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bot import NAIVE, OURS
from benchmarks.probe import speech_with_clicks
from benchmarks.row import Row, Spread
from benchmarks.stage import Stage, Talk
from benchmarks.timing import holes, ways_down
from discordplex.loopback.personaplex.faults import Faults

LATE_MS = 150.0
LEARNING_S = 2.0
CALM_WITHIN_S = 10.0
CALM_MS = 40.0
SUBJECT = f"blocks late by 0 to {LATE_MS:.0f} ms"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a person heard of such an engine."""

    holes_learning: int
    holes_after: int
    holds_ms: list[float]
    calm_after_s: float


async def measure(seconds: float, naive_seconds: float) -> list[Row]:
    """The rows about an uneven engine."""
    ours, naive = await one(OURS, seconds), await one(NAIVE, naive_seconds)
    held, held_naive = Spread.of(ours.holds_ms), Spread.of(naive.holds_ms)
    return [
        Row(SUBJECT, "holes in the first 2 s", "", ours.holes_learning, 2, naive=naive.holes_learning),
        Row(SUBJECT, f"holes in the next {seconds - LEARNING_S:.0f} s", "", ours.holes_after, 0, naive=naive.holes_after),
        Row(SUBJECT, "longest hold", "ms", held.maximum, 150, held, held_naive.maximum),
        Row(SUBJECT, f"calm again: held under {CALM_MS:.0f} ms after", "s", ours.calm_after_s, CALM_WITHIN_S, naive=naive.calm_after_s),
    ]


async def one(program: Sequence[str], seconds: float) -> Heard:
    """A call with so many seconds of lateness and then calm."""
    async with Stage(program=program, faults=Faults(natural_spacing=True)) as stage:
        await stage.wait_online()
        async with stage.talk() as talk:
            saying = asyncio.create_task(talk.person.say(speech_with_clicks(seconds + CALM_WITHIN_S + 3)[0]))
            await asyncio.sleep(1.0)
            talk.engine.faults = Faults(natural_spacing=True, late_ms=LATE_MS, seed=1)
            late_from = talk.said[-1].at
            await asyncio.sleep(seconds)
            talk.engine.faults = Faults()
            calm_from = talk.said[-1].at
            await asyncio.sleep(CALM_WITHIN_S + 1)
            talk.person.stop_speaking()
            await saying
        return judged(talk, stage.bot_id, late_from, calm_from)


def judged(talk: Talk, bot_id: str, late_from: float, calm_from: float) -> Heard:
    """What the records say."""
    began = [at for at in holes(talk.person.heard.packets(bot_id)) if late_from < at < calm_from + 0.2]
    holds = [way for way in ways_down(talk, bot_id) if way.left > late_from]
    learnt = late_from + LEARNING_S
    still_held = [way.left for way in holds if way.left > calm_from and way.took_ms > CALM_MS]
    return Heard(
        holes_learning=sum(at <= learnt for at in began),
        holes_after=sum(at > learnt for at in began),
        holds_ms=[way.took_ms for way in holds if learnt < way.left < calm_from],
        calm_after_s=max(still_held, default=calm_from) - calm_from,
    )
