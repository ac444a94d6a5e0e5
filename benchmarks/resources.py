"""What the bot takes of the machine: the processor in a steady call, memory from the bare imports to the call."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.bot import NAIVE, OURS, ROOT, Usage, cpu_percent
from benchmarks.row import Row
from benchmarks.stage import Stage
from discordplex.audio.format import ENGINE
from discordplex.demo.clip import speech
from discordplex.loopback.personaplex.talker import clip
from discordplex.loopback.personaplex.voice_model import ModelOutput

STEADY_AFTER_S = 3.0
MEMORY_MIB = 130.0
"""With the store, which alone takes some 25."""
IMPORTS = """
import os
import discordplex.verbs, discordplex.app, discordplex.config, discordplex.logs
from benchmarks.bot import usage_of
print(usage_of(os.getpid()).resident_mib)
"""


@dataclass
class Chatter:
    """Stands where the model would be: speaks the talker's clip over and over, without a pause, whatever it hears."""

    next: int = 0
    steps: Sequence[ModelOutput] = field(default_factory=lambda: clip().steps)

    def step(self, heard: bytes) -> ModelOutput:
        """One step."""
        del heard
        self.next += 1
        return self.steps[self.next % len(self.steps)]


@dataclass(frozen=True, slots=True)
class Taken:
    """What one bot took."""

    idle: Usage
    idle_cpu_percent: float
    in_call: Usage
    cpu_percent: float


async def measure(seconds: float, naive_seconds: float) -> list[Row]:
    """The rows of CPU and memory; none where the system has no /proc."""
    imports_mib = imports_alone()
    if imports_mib is None:
        return []
    ours = await one_call(Stage(program=OURS, model=Chatter), seconds)
    naive = await one_call(Stage(program=NAIVE, model=Chatter), naive_seconds)
    return [
        Row("CPU", "one call, both speak, DAVE", "% of a core", ours.cpu_percent, 4.0, naive=naive.cpu_percent),
        Row("CPU", "idle, on Discord", "% of a core", ours.idle_cpu_percent),
        Row("memory", "imports alone", "MiB", imports_mib),
        Row("memory", "idle, on Discord", "MiB", ours.idle.resident_mib, naive=naive.idle.resident_mib),
        Row("memory", "in a call", "MiB", ours.in_call.resident_mib, MEMORY_MIB, naive=naive.in_call.resident_mib),
        Row("memory", "in a call, peak", "MiB", ours.in_call.peak_mib, MEMORY_MIB, naive=naive.in_call.peak_mib),
        Row("threads", "in a call", "", ours.in_call.threads),
    ]


def imports_alone() -> float | None:
    """MiB of a process that has imported what a running bot imports, and done nothing; None where the system has no /proc."""
    command = [sys.executable, "-c", IMPORTS]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    return float(found.stdout) if found.returncode == 0 else None


async def one_call(stage: Stage, seconds: float) -> Taken:
    """A bot that idles and then talks, both parties speaking all the time, measured between its start and its end."""
    async with stage:
        await stage.wait_online()
        await asyncio.sleep(1.0)
        idle_begin = stage.bot.usage()
        await asyncio.sleep(3.0)
        idle = stage.bot.usage()
        async with stage.talk() as talk:
            saying = asyncio.create_task(talk.person.say(endless(seconds + STEADY_AFTER_S + 1)))
            await asyncio.sleep(STEADY_AFTER_S)
            begin = stage.bot.usage()
            await asyncio.sleep(seconds)
            end = stage.bot.usage()
            talk.person.stop_speaking()
            await saying
        await stage.bot.stop()
    return Taken(idle, cpu_percent(idle_begin, idle), end, cpu_percent(begin, end))


def endless(seconds: float) -> bytes:
    """The demo's person, without the pauses that they make for an answer."""
    wanted = ENGINE.bytes_of_ms(seconds * 1000)
    said = b"".join(loud(speech(None).pcm))
    return (said * (wanted // len(said) + 1))[:wanted]


def loud(pcm: bytes) -> Iterator[bytes]:
    """The frames in which something is said."""
    frames = (pcm[start : start + ENGINE.frame_bytes] for start in range(0, len(pcm), ENGINE.frame_bytes))
    return (frame for frame in frames if any(frame) and len(frame) == ENGINE.frame_bytes)
