"""From one conversation with the engine to the next while somebody speaks without a pause: how long nothing is heard."""

from itertools import groupby

import numpy as np

from benchmarks.row import Row
from benchmarks.stage import Stage
from discordplex.audio.format import ENGINE
from discordplex.loopback.personaplex.voice_model import Echo

MEMORY_S = 8.0
SECONDS = 30.0
BUDGET_MS = 200.0
SILENT = 300
"""Of 32767: the tone is far above, and what a codec makes of silence far below."""
SUBJECT = "hand-over, two servers, no pause"


async def measure() -> list[Row]:
    """The rows about a hand-over."""
    async with Stage(engines=2, model=Echo, settings={"DISCORDPLEX_PERSONAPLEX__MEMORY_S": str(MEMORY_S)}) as stage:
        await stage.wait_online()
        async with stage.talk() as talk:
            await talk.person.say(tone(SECONDS))
            heard = talk.person.heard.pcm(stage.bot_id)
        counted = await stage.bot.stop()
    handed_over = counted.get("handover.taken_over", 0)
    silence_ms = longest_silence_ms(heard) if handed_over else float("nan")
    return [Row(SUBJECT, "longest silence heard", "ms", silence_ms, BUDGET_MS, note=f"{handed_over} hand-overs in {SECONDS:.0f} s")]


def tone(seconds: float) -> bytes:
    """A steady 440 Hz, as ENGINE PCM."""
    time = np.arange(round(seconds * ENGINE.rate_hz)) / ENGINE.rate_hz
    return bytes((8000 * np.sin(2 * np.pi * 440 * time)).astype("<i2").tobytes())


def longest_silence_ms(pcm: bytes) -> float:
    """The longest stretch of silent frames between the first and the last that is not."""
    frames = np.frombuffer(pcm, "<i2").astype(np.float64)
    frames = frames[: len(frames) // ENGINE.frame_samples * ENGINE.frame_samples].reshape(-1, ENGINE.frame_samples)
    loud = np.sqrt(np.mean(frames**2, axis=1)) > SILENT
    inside = loud[np.argmax(loud) : len(loud) - np.argmax(loud[::-1])]
    return max((len(list(run)) for is_loud, run in groupby(inside) if not is_loud), default=0) * float(ENGINE.frame_ms)
