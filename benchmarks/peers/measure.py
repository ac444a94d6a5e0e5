"""The same calls with us and with each peer: latency both ways, holes, processor, memory, and lost voice sockets.

Everything is timed from outside, with the code that times us. The person plays a tone with clicks, the engine another one, and both
are looked for on the other side.
"""

import asyncio
import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.bot import OURS, cpu_percent
from benchmarks.latency import SPEECH_S, middle, of_calls
from benchmarks.mending import LOSSES, Loss
from benchmarks.peers import discordjs, hermes, install
from benchmarks.peers.table import PeerRow
from benchmarks.probe import Probe, clicks, speech_with_clicks
from benchmarks.resources import STEADY_AFTER_S, Chatter, endless
from benchmarks.row import Spread
from benchmarks.stage import Stage, Talk
from benchmarks.timing import holes, ways_down, ways_up
from discordplex.audio.format import ENGINE, MODEL
from discordplex.loopback.personaplex.voice_model import VoiceModelFactory

CALLS = 4
STEADY_S = 8.0
TRIES = 3
GIVEN_UP_S = 30.0
"""A bot that is not back by then is called gone."""
CLICK_MS = 100.0
"""From one click of the person to the next."""
LOOK_S = 0.35
"""In so much of what the engine hears, there are three clicks."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A bot that is measured: its name, its stage, and why it cannot be measured here."""

    name: str
    stage: Callable[[VoiceModelFactory], Stage]
    why_not: Callable[[], str | None] = lambda: None


CONTENDERS = (
    Contender("discordplex", lambda model: Stage(program=OURS, model=model)),
    Contender("discord.js 14.28.1", lambda model: Stage(program=discordjs.PROGRAM, model=model), install.why_no_discordjs),
    Contender("hermes-talk 0.22.0", lambda model: hermes.HermesStage(model=model), install.why_no_hermes),
)
"""The first is the one with which the others are compared."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What a lost voice socket cost: infinite where it never came back."""

    silent_ms: float
    """The longest time between two packets with sound that the person heard."""
    unheard_ms: float
    """How much of the person's speech never arrived at the engine, in whole clicks."""


@dataclass(slots=True)
class Figures:
    """What was measured of one contender."""

    up_ms: list[list[float]] = field(default_factory=list)
    down_ms: list[list[float]] = field(default_factory=list)
    holes: int = 0
    cpu_percent: float = math.nan
    resident_mib: float = math.nan
    repairs: dict[str, list[Repair]] = field(default_factory=dict)


async def measure(tell: Callable[[str], None]) -> list[PeerRow]:
    """The rows of everybody who can be measured here; `tell` is given a line for each contender."""
    found: dict[str, Figures] = {}
    for contender in CONTENDERS:
        obstacle = await asyncio.to_thread(contender.why_not)
        if obstacle is not None:
            tell(f"{contender.name} is skipped: {obstacle}")
            continue
        begun = time.perf_counter()
        found[contender.name] = await figures(contender)
        tell(f"measured: {contender.name}, {time.perf_counter() - begun:.0f} s")
    return list(rows(found))


async def figures(contender: Contender) -> Figures:
    """Everything about one contender."""
    found = Figures()
    await calls(contender, found)
    await steady(contender, found)
    for loss in LOSSES:
        found.repairs[loss.name] = await repairs(contender, loss)
    return found


async def calls(contender: Contender, found: Figures) -> None:
    """Some calls, one after the other: both ways, and holes."""
    async with contender.stage(Probe) as stage:
        await stage.wait_online()
        for _ in range(CALLS):
            await stage.discord.wait_for(lambda: stage.alone(0))
            async with stage.talk() as talk:
                speech, clicked = speech_with_clicks(SPEECH_S)
                first, began = len(talk.person.said.packets()), time.perf_counter()
                await talk.person.say(speech)
                ended = began + SPEECH_S
                await asyncio.sleep(0.3)
                up = ways_up(talk, talk.person.said.packets()[first:], clicked)
                found.up_ms.append([way.took_ms for way in up])
                found.down_ms.append([way.took_ms for way in ways_down(talk, stage.bot_id) if way.left > began])
                found.holes += sum(began + 0.5 < at < ended for at in holes(talk.person.heard.packets(stage.bot_id)))


async def steady(contender: Contender, found: Figures) -> None:
    """One call in which both speak all the time: processor and memory, where the system has a /proc."""
    async with contender.stage(Chatter) as stage:
        await stage.wait_online()
        async with stage.talk() as talk:
            saying = asyncio.create_task(talk.person.say(endless(STEADY_S + STEADY_AFTER_S + 1)))
            await asyncio.sleep(STEADY_AFTER_S)
            try:
                begin = stage.bot.usage()
                await asyncio.sleep(STEADY_S)
                end = stage.bot.usage()
            except OSError:
                pass
            else:
                found.cpu_percent, found.resident_mib = cpu_percent(begin, end), end.resident_mib
            talk.person.stop_speaking()
            await saying


async def repairs(contender: Contender, loss: Loss) -> list[Repair]:
    """Lose the voice socket in the middle of a sentence, some times; once where it does not come back."""
    found: list[Repair] = []
    async with contender.stage(Probe) as stage:
        await stage.wait_online()
        async with stage.talk() as talk:
            speech, clicked = speech_with_clicks(TRIES * GIVEN_UP_S)
            first = len(talk.person.said.packets())
            saying = asyncio.create_task(talk.person.say(speech))
            await asyncio.sleep(1.5)
            while len(found) < TRIES and not (found and math.isinf(found[-1].silent_ms + found[-1].unheard_ms)):
                at = time.perf_counter()
                loss.cause(stage)
                speaks, hears = await back(stage, talk)
                packets = talk.person.said.packets()[first:]
                ways = ways_up(talk, packets, [frame for frame in clicked if frame < len(packets)])
                left = [way.left for way in ways if way.left > at - 0.5]
                heard = [packet.at for packet in talk.person.heard.packets(stage.bot_id) if packet.audible and packet.at > at - 0.1]
                found.append(Repair(longest_ms(heard) if speaks else math.inf, longest_ms(left) - CLICK_MS if hears else math.inf))
            talk.person.stop_speaking()
            await saying
    return found


async def back(stage: Stage, talk: Talk) -> tuple[bool, bool]:
    """Whether the person hears the bot again, and whether the engine hears the person again; waits until both do, for `GIVEN_UP_S` at most.

    Without its voice socket a bot is heard only until the voice server ends its session: that does not count.
    """
    deadline = time.perf_counter() + GIVEN_UP_S
    await asyncio.sleep(0.5)
    steadily = 0
    while True:
        before = 0 if talk.probe is None else len(talk.probe.heard)
        await asyncio.sleep(0.1)
        bot = stage.discord.voice.participant(stage.bot_id)
        connected = bot is not None and bot.connection is not None
        speaks = connected and is_speaking(talk, stage.bot_id)
        hears = connected and talk.probe is not None and len(talk.probe.heard) > before and is_hearing(talk.probe)
        steadily = steadily + 1 if speaks and hears else 0
        if steadily == 5 or time.perf_counter() > deadline:
            return speaks, hears


def is_speaking(talk: Talk, bot_id: str) -> bool:
    """Whether the person has heard the bot just now."""
    since = time.perf_counter() - LOOK_S
    recent = itertools.chain.from_iterable(track.newest(50) for track in talk.person.heard.tracks(bot_id))
    return sum(packet.audible and packet.at > since for packet in recent) > LOOK_S * ENGINE.frames_per_second / 2


def is_hearing(probe: Probe) -> bool:
    """Whether the person's clicks are in what the engine has heard last."""
    return len(clicks(bytes(probe.heard[-MODEL.bytes_of_ms(LOOK_S * 1000) :]), MODEL.rate_hz)) > 1


def longest_ms(moments: Sequence[float]) -> float:
    """The longest time between two of them."""
    return max(((after - before) * 1000 for before, after in itertools.pairwise(moments)), default=math.nan)


def rows(found: dict[str, Figures]) -> Iterator[PeerRow]:
    """One row for each thing, with everybody's figure."""

    def row(what: str, unit: str, value: Callable[[Figures], float]) -> PeerRow:
        return PeerRow(what, unit, {name: value(each) for name, each in found.items()})

    yield row("person -> engine, median of the calls' medians", "ms", lambda each: middle(of_calls(each.up_ms)[0]))
    yield row("person -> engine, worst call's p99", "ms", lambda each: max(of_calls(each.up_ms)[1]))
    yield row("engine -> person, median of the calls' medians", "ms", lambda each: middle(of_calls(each.down_ms)[0]))
    yield row("engine -> person, p99 of all", "ms", lambda each: Spread.of(list(itertools.chain.from_iterable(each.down_ms))).p99)
    yield row(f"holes in {CALLS} calls", "", lambda each: each.holes)
    yield row("CPU, one call, both speak, DAVE", "% of a core", lambda each: each.cpu_percent)
    yield row("memory in a call", "MiB", lambda each: each.resident_mib)
    for loss in LOSSES:
        for what, which in (("the person hears nothing for", "silent_ms"), ("the engine hears nothing for", "unheard_ms")):
            yield row(f"{loss.name}: {what}", "ms", functools.partial(worst, loss=loss, which=which))


def worst(each: Figures, *, loss: Loss, which: str) -> float:
    """The median of what some losses cost; infinite where one of them was for ever."""
    values: list[float] = [getattr(repair, which) for repair in each.repairs[loss.name]]
    return math.inf if math.inf in values else statistics.median(values)
