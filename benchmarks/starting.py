"""From the start of the process to being in the call, with somebody already waiting in the channel."""

import asyncio
import time

from benchmarks.row import Row, Spread
from benchmarks.stage import ENTER_WITHIN_S, Stage
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.world.model import Fact, Noted
from discordplex.loopback.personaplex.log import HandshakeSent

STARTS = 3


async def measure() -> list[Row]:
    """The rows about starting."""
    found = [await once() for _ in range(STARTS)]
    online, joined, listening = (Spread.of([times[place] for times in found]) for place in range(3))
    return [
        Row("start", "process start -> READY", "s", online.p50, spread=online),
        Row("start", "READY -> in the call", "s", joined.p50, 2.0, joined),
        Row("start", "READY -> the engine listens", "s", listening.p50, spread=listening, note="0.1 s of it the stand-in loads prompts"),
    ]


async def once() -> tuple[float, float, float]:
    """Seconds from start to READY, from there to the call, and to the engine's handshake."""
    moments: dict[str, float] = {}

    def note(fact: Fact) -> None:
        if isinstance(fact, Noted):
            moments.setdefault(fact.what, time.perf_counter())

    started = time.perf_counter()
    async with Stage() as stage:
        started = time.perf_counter()
        stage.discord.world.subscribe(note)
        async with Person(stage.discord, stage.people[0], stage.rooms[0].id, e2ee="libdave"):
            await stage.discord.wait_for(lambda: f"voice entered {stage.bot_id}" in moments, timeout_s=ENTER_WITHIN_S)
            await stage.engines[0].log.wait_for(lambda log: log.of(HandshakeSent))
            await asyncio.sleep(0.1)
        ready, entered = moments["gateway online"], moments[f"voice entered {stage.bot_id}"]
        shaken = stage.engines[0].log.of(HandshakeSent)[0].at
    return ready - started, entered - ready, shaken - ready
