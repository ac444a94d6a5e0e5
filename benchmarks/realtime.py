"""The Realtime engine: how soon it answers, and its latency, processor and memory beside PersonaPlex's, in the same run.

vLLM-Omni's dialect is full duplex as PersonaPlex is, and the stand-in servers have the same model behind them.
"""

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pydantic import SecretStr
from typing_extensions import Self

from benchmarks.bot import ROOT
from benchmarks.latency import many, middle
from benchmarks.probe import Probe
from benchmarks.resources import Chatter, endless, imports_alone, one_call
from benchmarks.row import Row, Spread
from benchmarks.stage import ENTER_WITHIN_S, Stage
from discordplex.audio.format import ENGINE, MODEL
from discordplex.clock import SystemClock
from discordplex.config import RealtimeConfig
from discordplex.engine import Audio, Persona, VoiceEngine
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.openai.realtime.log import AudioAppended
from discordplex.loopback.openai.realtime.replies import talk
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.loopback.personaplex.log import AudioReceived, AudioSent
from discordplex.loopback.personaplex.voice_model import VoiceModelFactory
from discordplex.metrics import Metrics
from discordplex.realtime.provider import RealtimeProvider
from discordplex.tasks import beside

TURNS = 20
OWN_SHARE_MS = 15.0
BESIDE_MS = 10.0
"""How much slower than PersonaPlex either way may be."""
SPOKEN_S, REPLY_S = 1.0, 0.5
ANSWER_WITHIN_S = 10.0
KEY, MODEL_NAME = "sk-benchmark", "gpt-realtime-2.1-mini"
SPEAKER = 1

COST = """
import os, sys
import discordplex.verbs, discordplex.app, discordplex.config, discordplex.logs
from benchmarks.bot import usage_of
before, loaded = usage_of(os.getpid()).resident_mib, any("realtime" in name for name in sys.modules)
import discordplex.realtime.provider
print(int(loaded), usage_of(os.getpid()).resident_mib - before)
"""


async def measure(calls: int, seconds: float) -> list[Row]:
    """All rows of the Realtime engine."""
    return [await answering(TURNS), *await both_engines(calls), *await taken(seconds), *imported()]


async def answering(turns: int) -> Row:
    """From the server's word that somebody has finished to the first sound at the engine's port; the server takes no time to think."""
    async with RealtimeServer(replies=talk(REPLY_S)) as server, conversation(server) as asking:
        await asking.turn()
        took = [await asking.turn() for _ in range(turns)]
    spread = Spread.of(took)
    details = {"turns": [round(one, 2) for one in took]}
    note = "with the stand-in server's own work"
    return Row(
        "realtime: end of speech -> first audio",
        "beyond the server's detector",
        "ms",
        spread.p50,
        OWN_SHARE_MS,
        spread,
        None,
        note,
        details,
    )


async def both_engines(calls: int) -> list[Row]:
    """Both ways of both engines."""
    plex, _ = await many(Stage(engines=2, guilds=2), calls)
    omni, _ = await many(OmniStage(guilds=2), calls)
    rows = []
    for way in ("person -> engine", "engine -> person"):
        up = way.startswith("person")
        values, others = ([ways.up_ms if up else ways.down_ms for ways in found] for found in (omni, plex))
        beside_ms = middle([middle(one) for one in others])
        spread = Spread.of([value for one in values for value in one])
        note, details = f"PersonaPlex in the same run: {beside_ms:.1f} ms", {"medians": [round(middle(one), 2) for one in values]}
        rows.append(
            Row(
                f"realtime: {way}",
                "median of the calls' medians",
                "ms",
                middle([middle(one) for one in values]),
                beside_ms + BESIDE_MS,
                spread,
                note=note,
                details=details,
            )
        )
    return rows


async def taken(seconds: float) -> list[Row]:
    """What a call takes; none where the system has no /proc."""
    if imports_alone() is None:
        return []
    omni, plex = await one_call(OmniStage(model=Chatter), seconds), await one_call(Stage(model=Chatter), seconds)
    return [
        Row("realtime: CPU", "one call, both speak, DAVE", "% of a core", omni.cpu_percent, note=f"PersonaPlex: {plex.cpu_percent:.1f}"),
        Row("realtime: memory", "in a call", "MiB", omni.in_call.resident_mib, note=f"PersonaPlex: {plex.in_call.resident_mib:.0f}"),
    ]


def imported() -> list[Row]:
    """What the engine costs a process that does not use it, and one that does; none where the system has no /proc."""
    found = subprocess.run([sys.executable, "-c", COST], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    if found.returncode:
        return []
    loaded, mib = found.stdout.split()
    return [
        Row("realtime: imports", "of it loaded without it", "", float(loaded), 0.0),
        Row("realtime: imports", "memory of its own modules", "MiB", float(mib)),
    ]


class Asking:
    """Somebody who asks the same again and again, and an engine that answers."""

    def __init__(self, engine: VoiceEngine, server: RealtimeServer) -> None:
        self._engine = engine
        self._server = server
        self._sounded_at: list[float] = []
        self._tick_at = time.perf_counter()
        said = endless(SPOKEN_S)
        self._frames = [said[start : start + ENGINE.frame_bytes] for start in range(0, len(said), ENGINE.frame_bytes)]

    async def listen(self) -> None:
        """Note when sound comes."""
        async for event in self._engine.events():
            if isinstance(event, Audio):
                self._sounded_at.append(time.perf_counter())

    async def turn(self) -> float:
        """Ask, and let the answer be played; how many milliseconds it took from the server's commit to the first sound."""
        self._sounded_at.clear()
        for frame in self._frames:
            await self._tick({SPEAKER: frame})
        asked_at = time.perf_counter()
        while not self._sounded_at:
            await self._tick({})
            if time.perf_counter() - asked_at > ANSWER_WITHIN_S:
                raise TimeoutError("the engine did not answer")
        committed_at = self._server.sent("input_audio_buffer.committed")[-1].at
        for _ in range(int((REPLY_S + 0.5) / ENGINE.frame_seconds)):
            await self._tick({})
        return (self._sounded_at[0] - committed_at) * 1000

    async def _tick(self, frames: Mapping[int, bytes]) -> None:
        self._tick_at += ENGINE.frame_seconds
        await asyncio.sleep(max(0.0, self._tick_at - time.perf_counter()))
        self._engine.push(frames)


@contextlib.asynccontextmanager
async def conversation(server: RealtimeServer) -> AsyncIterator[Asking]:
    """A call with the engine at this server."""
    provider = RealtimeProvider(RealtimeConfig(url=server.url, api_key=SecretStr(KEY), model=MODEL_NAME), clock=SystemClock())
    lease = provider.acquire()
    if lease is None:
        raise RuntimeError("no lease is free")
    async with lease.open(Persona("", "You are a benchmark."), Metrics()) as engine:
        asking = Asking(engine, server)
        async with beside(asking.listen()):
            yield asking


@dataclass
class OmniTalk:
    """One call with vLLM-Omni's stand-in."""

    person: Person
    probe: Probe | None
    server: RealtimeServer
    client: int

    @property
    def heard(self) -> list[AudioReceived]:
        """Each piece of sound that reached the server."""
        came = self.server.log.of(AudioAppended, self.client)
        return [AudioReceived(one.at, one.client, one.size, one.size // MODEL.sample_bytes) for one in came]

    @property
    def said(self) -> list[AudioSent]:
        """Each block that the server sent."""
        sent = self.server.sent("response.output_audio.delta", self.client)
        return [AudioSent(one.at, one.client, one.audio_bytes) for one in sent]


class OmniStage(Stage):
    """The same with PersonaPlex behind vLLM-Omni's dialect, a block for each step."""

    def __init__(self, *, guilds: int = 1, model: VoiceModelFactory = Probe) -> None:
        super().__init__(engines=0, guilds=guilds, model=model)
        self.server = RealtimeServer("vllm-omni", model=self._new_model, chunk_frames=1, frame_limit=10**6)

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        return await super().__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        await super().__aexit__(kind, fault, trace)
        await self.server.__aexit__(kind, fault, trace)

    @contextlib.asynccontextmanager
    async def talk(self, number: int = 0) -> AsyncIterator[OmniTalk]:  # type: ignore[override]  # what its users need: a call that can be timed
        """A person enters the room of that number, the bot joins them, and a session is open; at the end the person leaves."""
        before, probes = len(self.server.sent("session.updated")), len(self.probes)
        async with Person(self.discord, self.people[number], self.rooms[number].id, e2ee="libdave") as person:
            begun_at = time.perf_counter()
            while len(self.server.sent("session.updated")) == before:
                await asyncio.sleep(0.01)
                if time.perf_counter() - begun_at > ENTER_WITHIN_S:
                    raise TimeoutError("no session was opened")
            await asyncio.sleep(random.uniform(0.5, 0.6))  # past the start, and at any phase of the bot's clocks
            probe = self.probes[probes] if len(self.probes) > probes else None
            yield OmniTalk(person, probe, self.server, self.server.sent("session.updated")[-1].client)

    def _environment(self, folder: Path) -> dict[str, str]:
        found = super()._environment(folder)
        del found["DISCORDPLEX_PERSONAPLEX__URLS"]
        settings = {"URL": self.server.url, "MODEL": "nvidia/personaplex-7b-v1", "DIALECT": "vllm-omni", "VOICE": "NATF2.pt"}
        return (
            found | {"DISCORDPLEX_ENGINE__KIND": "realtime"} | {f"DISCORDPLEX_REALTIME__{name}": value for name, value in settings.items()}
        )
