"""A link and a player in virtual time: blocks arrive when the test says, frames are popped every 20 ms, nothing waits."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from discordplex.audio.format import ENGINE
from discordplex.audio.pacing import STREAM, Profile
from discordplex.audio.playout import PlayoutBuffer
from discordplex.metrics import Metrics
from tests.audio.signals import pcm, tone

BLOCK_S = 0.08
START = 1000.0
LOUD = pcm(tone(BLOCK_S, hz=300))
QUIET = bytes(len(LOUD))

JitterEstimator = Callable[[random.Random, int], float]


def uniform(most_ms: float) -> JitterEstimator:
    return lambda rng, _: rng.uniform(0, most_ms / 1000)


def real_server(rng: random.Random, _: int) -> float:
    """Blocks 80 ms apart in the middle, 71 to 98 ms from one to the next in all but one of a hundred."""
    return min(0.018, abs(rng.gauss(0, 0.0045)))


def arrivals(rng: random.Random, blocks: int, lateness: JitterEstimator, *, block_s: float = BLOCK_S) -> list[float]:
    """When each block comes, in order as on a TCP stream: a late one holds up those behind it."""
    times: list[float] = []
    for number in range(blocks):
        due = START + number * block_s + lateness(rng, number)
        times.append(max(due, times[-1]) if times else due)
    return times


def stalled(times: list[float], at: float, length_s: float) -> list[float]:
    """The same blocks, with what was due within the stall coming at its end, at once."""
    return [max(time, at + length_s) if time >= at else time for time in times]


@dataclass
class Hole:
    """Ticks without a frame, between frames."""

    began: float
    ended: float


@dataclass
class Played:
    """What a listener got."""

    metrics: Metrics
    holds: list[tuple[float, float]] = field(default_factory=list)
    """For each block that was not dropped: when it arrived, and ms until its first frame was played."""
    holes: list[Hole] = field(default_factory=list)
    heard: list[tuple[float, bytes]] = field(default_factory=list)

    def count(self, name: str) -> int:
        return self.metrics.counter(f"test.{name}").value

    def holds_between(self, start: float, end: float) -> list[float]:
        return [hold for arrived, hold in self.holds if start <= arrived < end]


def loud(_: int) -> bytes:
    return LOUD


def quiet(_: int) -> bytes:
    return QUIET


def talk(number: int) -> bytes:
    """Two seconds of speech, one of pause."""
    return QUIET if number // 12 % 3 == 2 else LOUD


def play(
    times: list[float],
    content: Callable[[int], bytes] = loud,
    *,
    phase_s: float = 0.01,
    profile: Profile = STREAM,
    late_tick: Callable[[], float] = lambda: 0.0,
    until: float | None = None,
) -> Played:
    """Push each block at its time and pop a frame every 20 ms."""
    played = Played(Metrics())
    playout = PlayoutBuffer(profile=profile, metrics=played.metrics, name="test")
    blocks: list[tuple[int, float]] = []
    pushed = first_unplayed = tick = 0
    gap_since: float | None = None
    while (now := times[0] - 0.1 + phase_s + tick * ENGINE.frame_seconds) <= (until or times[-1]):
        tick += 1
        while pushed < len(times) and times[pushed] <= now:
            blocks.append((playout.pushed_samples, times[pushed]))
            playout.push(content(pushed), times[pushed])
            pushed += 1
        frame = playout.pop(now + late_tick())
        if frame is None:
            gap_since = gap_since or (now if played.heard else None)
            continue
        if gap_since:
            played.holes.append(Hole(gap_since, now))
            gap_since = None
        played.heard.append((now, frame))
        while first_unplayed < len(blocks) and blocks[first_unplayed][0] < playout.passed_samples:
            arrived = blocks[first_unplayed][1]
            played.holds.append((arrived, (now - arrived) * 1000))
            first_unplayed += 1
    return played
