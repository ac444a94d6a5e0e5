"""No call stays slower than the others: a person, an echo that takes steps of 80 ms, and the person again, in virtual time.

The sink, the uplink, the source and the sender's pace are real. The model steps as the stand-in server does: one step for each 80 ms of
input, 25 ms long and uneven as measured, the first ones slower.
"""

import asyncio
import functools
import heapq
import itertools
import random
import statistics
from collections.abc import Callable, Mapping

import numpy as np

from discordplex.audio.format import DISCORD, ENGINE, MODEL_STEP_MS
from discordplex.audio.phase import PhaseAdjuster
from discordplex.audio.sink import Sink
from discordplex.audio.source import StreamingPlaybackSource
from discordplex.bridge.uplink import Uplink
from discordplex.engine import SpeakerId
from discordplex.loopback.clock import FakeTimer
from discordplex.loopback.personaplex.conversation import NATURAL_JITTER_MS, NATURAL_LIMIT_MS, SLOW_STEPS
from discordplex.metrics import Metrics
from discordplex.tasks import beside
from tests.bridge.scripted import ScriptedEngine

ANN = 11
STEP_S = 0.025
SLOW_START_S = 0.06
SPEECH_S = 6.0
LOUD = 3000
"""The sample value of the first frame that is said; each frame has one of its own, so that it is known again."""
FRAMES = [np.full(DISCORD.frame_samples * 2, LOUD + number, "<i2").tobytes() for number in range(int(SPEECH_S / DISCORD.frame_seconds))]


class EchoCall(ScriptedEngine):
    """One call of random phases. It is the uplink's clock, and its engine."""

    def __init__(self, seed: int) -> None:
        self.time = 0.0
        self.said_at: list[float] = []
        self.heard_at: dict[int, float] = {}
        self._chance = chance = random.Random(seed)
        self._order = itertools.count()
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._metrics = Metrics()
        self._sink = Sink(clock=self, metrics=self._metrics)
        self._source = StreamingPlaybackSource(clock=self, metrics=self._metrics)
        self._phase = PhaseAdjuster(DISCORD.frame_seconds)
        self._send_at = chance.uniform(0, 0.02)
        self._heard = bytearray()
        self._busy_until = 0.0
        self._steps = 0
        first = chance.uniform(0.5, 0.6)
        for number in range(len(FRAMES)):
            self.said_at.append(first + number * DISCORD.frame_seconds)
            self._at(self.said_at[-1] + chance.uniform(0, 0.0005), functools.partial(self._sink.write, FRAMES[number], ANN))
        self._at(self._send_at, self._send)
        asyncio.run(self._run())

    def now(self) -> float:
        return self.time

    async def sleep_until(self, deadline: float) -> None:
        raise NotImplementedError

    def call_at(self, deadline: float, callback: Callable[[], None]) -> FakeTimer:
        """The loop wakes up to 1 ms late."""
        timer = FakeTimer(callback)
        self._at(deadline + self._chance.uniform(0, 0.001), timer.fire)
        return timer

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        self._heard += frames.get(ANN, ENGINE.silence)
        size = ENGINE.bytes_of_ms(MODEL_STEP_MS)
        if len(self._heard) >= size:
            block = bytes(self._heard[:size])
            del self._heard[:size]
            self._step(block)

    def delay_ms(self, start_s: float) -> float:
        """The median of the time from a frame's packet to the packet with its echo, from so far into the speech on."""
        first = round(start_s / DISCORD.frame_seconds)
        echoes = [(self.heard_at[number] - self.said_at[number]) * 1000 for number in self.heard_at if number >= first]
        return statistics.median(echoes)

    async def _run(self) -> None:
        uplink = Uplink(sink=self._sink, clock=self, metrics=self._metrics)
        uplink.engine = self
        async with beside(uplink.run()):
            await asyncio.sleep(0)
            while self.time <= self.said_at[-1]:
                due, _, happen = heapq.heappop(self._coming)
                self.time = max(self.time, due)
                happen()

    def _at(self, due: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._coming, (due, next(self._order), happen))

    def _step(self, block: bytes) -> None:
        scatter_ms = max(-NATURAL_LIMIT_MS, min(NATURAL_LIMIT_MS, self._chance.gauss(0, NATURAL_JITTER_MS)))
        slower_s = self._chance.uniform(0, SLOW_START_S) if self._steps < SLOW_STEPS else 0.0
        self._steps += 1
        self._busy_until = max(self.time, self._busy_until) + STEP_S + scatter_ms / 1000 + slower_s
        self._at(self._busy_until, lambda: self._source.push(block))

    def _send(self) -> None:
        number = int(np.frombuffer(self._source.read(), "<i2")[ENGINE.frame_samples // 2]) - LOUD
        if number >= 0:
            self.heard_at.setdefault(number, self.time)
        self._send_at += DISCORD.frame_seconds + self._phase.step(self._source.surplus_s)
        self._at(self._send_at, self._send)


def test_of_fifty_calls_none_stays_slower() -> None:
    """Whatever the phases and however slow the first steps were: after four seconds no call is 20 ms slower than the others."""
    delays = [EchoCall(seed).delay_ms(4.0) for seed in range(50)]
    assert max(delays) < statistics.median(delays) + 20
