"""The bot's voice socket is lost in the middle of a sentence: how long people hear nothing, and what is missing afterwards."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.probe import speech_with_clicks
from benchmarks.row import Row, Spread
from benchmarks.stage import Stage
from discordplex.audio.format import ENGINE
from discordplex.loopback.discord.person.timeline import PlacedPacket

TRIES = 3
BETWEEN_S = 1.6


@dataclass(frozen=True, slots=True)
class Loss:
    """A way to lose the socket, and what is budgeted for it."""

    name: str
    cause: Callable[[Stage], None]
    gap_ms: float
    resumes: bool


LOSSES = (
    Loss("close code 4015", lambda stage: stage.discord.voice.close_connection(stage.bot_id, 4015), 30, resumes=True),
    Loss("TCP reset", lambda stage: stage.discord.voice.reset_connection(stage.bot_id), 30, resumes=True),
    Loss("close code 4006", lambda stage: stage.discord.voice.close_connection(stage.bot_id, 4006), 70, resumes=False),
)


async def measure() -> list[Row]:
    """The rows about lost sockets."""
    rows = []
    async with Stage() as stage:
        await stage.wait_online()
        async with stage.talk() as talk:
            saying = asyncio.create_task(talk.person.say(speech_with_clicks(BETWEEN_S * TRIES * len(LOSSES) + 4)[0]))
            await asyncio.sleep(1.0)
            for loss in LOSSES:
                gaps, missing = [], 0
                for _ in range(TRIES):
                    before = len(talk.person.heard.packets(stage.bot_id))
                    loss.cause(stage)
                    await asyncio.sleep(BETWEEN_S)
                    packets = talk.person.heard.packets(stage.bot_id)[before - 5 :]
                    gaps.append(longest_gap_ms(packets))
                    missing += missing_frames(packets)
                found = Spread.of(gaps)
                rows.append(Row(f"voice socket lost: {loss.name}", "longest time between two packets", "ms", found.p50, loss.gap_ms, found))
                if loss.resumes:
                    rows.append(Row(f"voice socket lost: {loss.name}", f"frames lost in {TRIES} losses", "", missing, 0))
            talk.person.stop_speaking()
            await saying
    return rows


def longest_gap_ms(packets: list[PlacedPacket]) -> float:
    """The longest time between two packets; 20 ms is none lost and none late."""
    return max(((after.at - before.at) * 1000 for before, after in itertools.pairwise(packets)), default=float("nan"))


def missing_frames(packets: list[PlacedPacket]) -> int:
    """Frames of the tone that are missing between the first and the last."""
    positions = sorted(packet.position for packet in packets)
    return sum(round((after - before) / ENGINE.frame_samples) - 1 for before, after in itertools.pairwise(positions))
