"""The cascade: how soon it answers after it has decided that somebody finished, and whether noise glues or loses what people say.

`python -m benchmarks.cascade` prints its rows alone. The cascade is measured at its port, in this process; the servers are another one.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from importlib.resources import as_file, files

import numpy as np
import structlog

from benchmarks.openai import PROMPT, served
from benchmarks.row import Row, Spread
from discordplex.audio.format import ENGINE
from discordplex.audio.wav import read_wav
from discordplex.cascade.provider import CascadeProvider
from discordplex.clock import SystemClock
from discordplex.config import CascadeConfig
from discordplex.engine import Audio, Persona, Text, VoiceEngine
from discordplex.hearing.detector import DetectorPool
from discordplex.hearing.segmenter import SpeechStarted, Utterance
from discordplex.hearing.speech_input import SpeechInput
from discordplex.loopback.openai.faults import REALISTIC, Delays
from discordplex.loopback.openai.server import API_KEY
from discordplex.metrics import Metrics
from discordplex.tasks import beside

TURNS = 30
OWN_SHARE_MS = 15.0
FIRST_AUDIO_MS = 1150.0
ANSWER_WITHIN_S = 10.0
PACED_TICKS = 15
"""Before the decision the ticks come in real time; all others as fast as they are heard."""
FORGET_TICKS = 60
"""Of silence between two turns."""

SPEAKER = 1
SENTENCE_S = 3.0
"""Of the clip: its first sentence and the pause after it."""
SENTENCES = 3
SNR_DB = 10.0
SEEDS = range(10)


async def measure(turns: int = TURNS) -> list[Row]:
    """All rows of the cascade."""
    return [*await answering(PROMPT, turns), *await answering(REALISTIC, turns), *await hearing()]


async def answering(delays: Delays, turns: int) -> list[Row]:
    """From the decision that somebody has finished to the first sound at the engine's port, over so many turns and one before them."""
    async with served(delays) as base_url, conversation(base_url) as talk:
        first = await talk.turn()
        every = [await talk.turn() for _ in range(turns)]
    spread, cpu = Spread.of([took.wall_ms for took in every]), Spread.of([took.cpu_ms for took in every])
    what, budget = ("server without delay", OWN_SHARE_MS) if delays is PROMPT else ("350 + 400 + 18 a token + 300 ms", FIRST_AUDIO_MS)
    note = f"the call's first turn: {first.wall_ms:.1f} ms; load {load()}"
    details = {"turns": [round(took.wall_ms, 1) for took in every], "first turn": round(first.wall_ms, 1)}
    subject = "cascade: decision -> first audio"
    return [
        Row(subject, what, "ms", spread.p50, budget, spread, note=note, details=details),
        Row(
            subject,
            "of it our processor time, speech_input included",
            "ms",
            cpu.p50,
            None,
            cpu,
            note=f"the call's first turn: {first.cpu_ms:.1f} ms",
        ),
    ]


@dataclass(frozen=True, slots=True)
class Took:
    """From the decision to the first sound."""

    wall_ms: float
    cpu_ms: float

    @classmethod
    def between(cls, decided: "Moment", sounded: "Moment") -> "Took":
        """The time between two moments."""
        return cls((sounded.wall_s - decided.wall_s) * 1000, (sounded.cpu_s - decided.cpu_s) * 1000)


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, on the wall and in what this thread, which is all of the cascade, has used of the processor."""

    wall_s: float = field(default_factory=time.perf_counter)
    cpu_s: float = field(default_factory=time.thread_time)


class Talk:
    """A person who says the same sentence again and again, and a cascade that answers."""

    def __init__(self, engine: VoiceEngine, metrics: Metrics) -> None:
        self._engine = engine
        self._utterances = metrics.counter("cascade.utterances")
        self._decided_after = 0
        self._sounded: asyncio.Future[Moment] = asyncio.get_running_loop().create_future()
        self._whole = asyncio.Event()

    async def listen(self) -> None:
        """Take what the engine says."""
        async for event in self._engine.events():
            if isinstance(event, Audio) and not self._sounded.done():
                self._sounded.set_result(Moment())
            if isinstance(event, Text) and event.role == "engine" and event.final:
                self._whole.set()

    async def turn(self) -> Took:
        """Say it, and skip the hearing of the answer once it is whole; how long it took to begin."""
        decided = await self._say()
        while not self._whole.is_set():
            await asyncio.sleep(ENGINE.frame_seconds)
            if time.perf_counter() - decided.wall_s > ANSWER_WITHIN_S:
                raise TimeoutError("the cascade did not answer")
            self._engine.push({})
        await self._engine.interrupt()
        for _ in range(FORGET_TICKS):
            self._engine.push({})
        return Took.between(decided, self._sounded.result())

    async def _say(self) -> Moment:
        """The sentence; when it was decided that it is over. Nothing has been asked of a server by then."""
        self._sounded, self._whole = asyncio.get_running_loop().create_future(), asyncio.Event()
        before = self._utterances.value
        for number, frame in enumerate(frames_of(clip()[: ENGINE.bytes_of_ms(SENTENCE_S * 1000)])):
            if number >= self._decided_after - PACED_TICKS:
                await asyncio.sleep(ENGINE.frame_seconds)
            self._engine.push({SPEAKER: frame})
            if self._utterances.value > before:
                self._decided_after = number
                return Moment()
        raise RuntimeError("the sentence was not heard")


@contextlib.asynccontextmanager
async def conversation(base_url: str) -> AsyncIterator[Talk]:
    """A call with the cascade at this server."""
    config = CascadeConfig.model_validate({"base_url": base_url, "api_key": API_KEY})
    provider, metrics = CascadeProvider(config, clock=SystemClock()), Metrics()
    lease = provider.acquire()
    if lease is None:
        raise RuntimeError("no lease is free")
    async with lease.open(Persona(voice=config.speak.voice, text_prompt=config.text_prompt), metrics) as engine:
        talk = Talk(engine, metrics)
        async with beside(talk.listen()):
            yield talk


def load() -> str:
    """Of this machine, where it tells."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


async def hearing() -> list[Row]:
    """The clip's sentences, clean and in noise: how many are glued to another, how many are lost."""
    detectors = DetectorPool()
    await detectors.fill()
    noisy = [heard(detectors, in_noise(clip(), SNR_DB, seed)) for seed in SEEDS]
    glued = sum(max(0, SENTENCES - count) for count, started in noisy if started < SENTENCES)
    lost, clean = sum(max(0, SENTENCES - count) for count, _ in noisy), heard(detectors, clip())[0]
    said = f"of {SENTENCES * len(SEEDS)}"
    return [
        Row("cascade: speech_input", f"sentences glued in noise at {SNR_DB:.0f} dB", "", float(glued), 0.0, note=said),
        Row("cascade: speech_input", f"sentences lost in noise at {SNR_DB:.0f} dB", "", float(lost), 0.0, note=said),
        Row("cascade: speech_input", "sentences lost of clean speech", "", float(SENTENCES - clean), 0.0, note=f"of {SENTENCES}"),
    ]


def heard(detectors: DetectorPool, pcm: bytes) -> tuple[int, int]:
    """How many utterances there were, and how many began."""
    speech_input = SpeechInput(detectors)
    events = [event for frame in frames_of(pcm) for _, event in speech_input.push({SPEAKER: frame})]
    speech_input.forget_everybody()
    return sum(isinstance(event, Utterance) for event in events), sum(isinstance(event, SpeechStarted) for event in events)


def clip() -> bytes:
    """The package's clip as ENGINE PCM: three sentences with a second of silence at least after each."""
    with as_file(files("discordplex.demo").joinpath("hello.wav")) as file:
        return read_wav(file) + bytes(ENGINE.bytes_of_ms(1000))


def in_noise(pcm: bytes, snr_db: float, seed: int) -> bytes:
    """`pcm` with white noise so far below its speech."""
    clean = np.frombuffer(pcm, "<i2").astype(np.float64)
    frames = clean[: len(clean) // ENGINE.frame_samples * ENGINE.frame_samples].reshape(-1, ENGINE.frame_samples)
    powers = (frames**2).mean(axis=1)
    speech_power = powers[powers > 200**2].mean()
    noise = np.random.default_rng(seed).normal(0, np.sqrt(speech_power / 10 ** (snr_db / 10)), len(clean))
    return bytes(np.clip(clean + noise, -32768, 32767).astype("<i2").tobytes())


def frames_of(pcm: bytes) -> Iterator[bytes]:
    """Whole ENGINE frames."""
    size = ENGINE.frame_bytes
    return (pcm[start : start + size] for start in range(0, len(pcm) - size + 1, size))


def line(row: Row) -> str:
    """A row as text."""
    spread = f"p95 {row.spread.p95:.1f}, worst {row.spread.maximum:.1f} of {row.spread.count}" if row.spread else ""
    budget = "" if row.budget is None else f"budget {row.budget:g} {row.unit}: {'holds' if row.holds else 'BROKEN'}"
    return "; ".join(
        part for part in (f"{row.subject}, {row.what}: {row.measured:.1f} {row.unit}".rstrip(), spread, budget, row.note) if part
    )


def main() -> int:
    """Print the rows; 1 where a budget does not hold."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    rows = asyncio.run(measure())
    print("\n".join(line(row) for row in rows))
    return int(any(row.holds is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
