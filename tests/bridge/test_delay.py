"""A delay on the way from a person to the engine does not stay: real packets, receiver, decoder, sink and uplink, in virtual time."""

import asyncio
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from discordplex.audio.converter import upmix
from discordplex.audio.format import ENGINE
from discordplex.audio.opus import OpusEncoder
from discordplex.audio.sink import Sink
from discordplex.bridge.uplink import Uplink
from discordplex.engine import SpeakerId
from discordplex.loopback.clock import FakeTimer
from discordplex.metrics import Metrics
from discordplex.tasks import beside
from discordplex.voice.dave.session import DaveSession
from discordplex.voice.rtp.encryption import MODES, Transport
from discordplex.voice.rtp.packet import build_header
from discordplex.voice.rtp.receiver import Receiver
from tests.bridge.scripted import ScriptedEngine

ANN, SSRC = 11, 500
KEY = bytes(32)
BEGAN, BAD_FROM, BAD_UNTIL, END = 1.0, 3.0, 7.0, 17.0
"""Seconds: somebody speaks, the link is bad, it is good again, the call ends."""

WORD_S, WORD_EVERY_S = 0.12, 0.4
PITCHES_HZ = tuple(range(350, 701, 50))
LOUD = 2500
WINDOW = ENGINE.rate_hz // 200

Link = Callable[[random.Random, list[float]], list[tuple[float, int]]]
"""From when each packet is sent to when which arrives."""


def speech() -> NDArray[np.float64]:
    """A hum that is never quiet, with a word in another pitch every 400 ms, each begun 1 ms within a frame."""
    moments = np.arange(round((END - BEGAN) * ENGINE.rate_hz)) / ENGINE.rate_hz
    hum = 1500 * np.sin(2 * np.pi * 200 * moments)
    length = round(WORD_S * ENGINE.rate_hz)
    ramp = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.002 * ENGINE.rate_hz))
    for number, start_s in enumerate(words()):
        start = round((start_s + 0.001) * ENGINE.rate_hz)
        hum[start : start + length] += 5000 * ramp * np.sin(2 * np.pi * pitch_of(number) * moments[:length])
    return hum


def words() -> list[float]:
    """When each word begins, in seconds of speech; the last ones are left out, so that all have time to arrive."""
    return [number * WORD_EVERY_S for number in range(int((END - BEGAN) / WORD_EVERY_S) - 3)]


def pitch_of(number: int) -> int:
    return PITCHES_HZ[number % len(PITCHES_HZ)]


def _datagrams() -> list[bytes]:
    pcm = speech().astype("<i2").tobytes()
    encoder, transport = OpusEncoder(application="voip", fec=True), Transport.for_mode(MODES[0], KEY)
    packets = [encoder.encode(upmix(pcm[at : at + ENGINE.frame_bytes])) for at in range(0, len(pcm), ENGINE.frame_bytes)]
    return [
        transport.seal(build_header(sequence=number, timestamp=number * 960, ssrc=SSRC), packet) for number, packet in enumerate(packets)
    ]


DATAGRAMS = _datagrams()


class VirtualTime:
    """The uplink's clock and its loop: takes packets as they come, and calls the timer up to 1 ms late; nothing while it stands still."""

    def __init__(self, chance: random.Random, arrivals: list[tuple[float, int]], still: tuple[float, float]) -> None:
        self.time = 0.0
        self.metrics = Metrics()
        self.sink = Sink(clock=self, metrics=self.metrics)
        e2ee = DaveSession(user_id=1, metrics=self.metrics)
        e2ee.start(channel_id=7, ssrc=1, protocol_version=0)
        self._receiver = Receiver(e2ee=e2ee, sink=self.sink, metrics=self.metrics, on_discovery=lambda *_: None)
        self._receiver.transport = Transport.for_mode(MODES[0], KEY)
        self._receiver.name(SSRC, ANN)
        self._chance = chance
        self._coming = deque(sorted(arrivals))
        self._still = still

    def now(self) -> float:
        return self.time

    async def sleep_until(self, deadline: float) -> None:
        raise NotImplementedError

    def call_at(self, deadline: float, callback: Callable[[], None]) -> FakeTimer:
        self._timer = deadline, FakeTimer(callback)
        return self._timer[1]

    async def run(self, uplink: Uplink) -> None:
        """Let it tick until the end."""
        async with beside(uplink.run()):
            await asyncio.sleep(0)
            while self.time < END:
                deadline, timer = self._timer
                self._pass_until(self._awake(deadline + self._chance.uniform(0, 0.001)))
                timer.fire()

    def _pass_until(self, wake_at: float) -> None:
        while (due := self._next_due()) <= wake_at:
            self.time = max(self.time, self._awake(due))
            if self._coming and self._coming[0][0] <= self.time:
                self._receiver.receive(DATAGRAMS[self._coming.popleft()[1]], self.time)
            else:
                self._receiver.tick(self.time)
        self.time = max(self.time, wake_at)

    def _awake(self, time: float) -> float:
        return self._still[1] if self._still[0] < time < self._still[1] else time

    def _next_due(self) -> float:
        return min(self._coming[0][0] if self._coming else math.inf, math.inf if self._receiver.due is None else self._receiver.due)


class Ear(ScriptedEngine):
    """An engine that keeps what it was pushed."""

    def __init__(self, time: VirtualTime) -> None:
        self.time, self.pushed_at, self.pcm = time, list[float](), bytearray()

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        self.pushed_at.append(self.time.now())
        self.pcm += frames.get(ANN, ENGINE.silence)


@dataclass
class Heard:
    """What the engine heard of one call."""

    words: list[int]
    """The pitch of each word, in order."""
    delays_ms: list[tuple[float, float]]
    """For each word that was said: when, and how long it took to the engine."""
    loudest_step: float

    def worst_between(self, start: float, end: float) -> float:
        return max(delay_ms for said_at, delay_ms in self.delays_ms if start <= said_at < end)


def call(seed: int, link: Link, *, still: tuple[float, float] = (END, END)) -> Heard:
    """One call over such a link."""
    chance = random.Random(seed)
    first = BEGAN + chance.uniform(0, 0.02)
    sent = [first + number * ENGINE.frame_seconds for number in range(len(DATAGRAMS))]
    time = VirtualTime(chance, link(chance, sent), still)
    ear = Ear(time)
    uplink = Uplink(sink=time.sink, clock=time, metrics=time.metrics)
    uplink.engine = ear
    asyncio.run(time.run(uplink))
    wave = np.frombuffer(bytes(ear.pcm), "<i2").astype(np.float64)
    heard = bursts(wave)
    said_at = [sent[round(start_s / ENGINE.frame_seconds)] for start_s in words()]
    arrived = [(ear.pushed_at[start // ENGINE.frame_samples], pitch) for start, pitch in heard]
    delays = [(at, (came - at) * 1000) for at, (came, _) in zip(said_at, arrived, strict=False)]
    return Heard([pitch for _, pitch in heard], delays, float(np.abs(np.diff(wave)).max()))


def bursts(wave: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The words in what was heard: where each begins, and its pitch. A word with a hole in it is one word."""
    peaks = np.abs(wave[: len(wave) // WINDOW * WINDOW]).reshape(-1, WINDOW).max(axis=1)
    found: list[tuple[int, int]] = []
    for is_loud, group in itertools.groupby(range(len(peaks)), lambda window: bool(peaks[window] > LOUD)):
        windows = list(group)
        if not is_loud or len(windows) < 4:
            continue
        piece = wave[windows[0] * WINDOW : (windows[-1] + 1) * WINDOW]
        spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)), ENGINE.rate_hz))
        pitch = max(PITCHES_HZ, key=lambda hz: float(spectrum[hz]))
        if not found or found[-1][1] != pitch:
            found.append((windows[0] * WINDOW, pitch))
    return found


def is_bad(at: float) -> bool:
    return BAD_FROM <= at < BAD_UNTIL


def calm(chance: random.Random, sent: list[float]) -> list[tuple[float, int]]:
    """Each packet up to 1 ms late."""
    return [(at + chance.uniform(0, 0.001), number) for number, at in enumerate(sent)]


def lossy(chance: random.Random, sent: list[float], until: float = BAD_UNTIL) -> list[tuple[float, int]]:
    """One packet in twenty is lost, none directly behind another: what FEC can rebuild."""
    kept = calm(chance, sent)
    lost = -1
    for number, at in enumerate(sent):
        if BAD_FROM <= at < until and number > lost + 2 and chance.random() < 0.05:
            lost = number
            kept.remove(next(arrival for arrival in kept if arrival[1] == number))
    return kept


def reordering(chance: random.Random, sent: list[float]) -> list[tuple[float, int]]:
    """One packet in ten is overtaken by the next one, or by the next three."""
    return [(at + (chance.uniform(0.021, 0.059) if is_bad(at) and chance.random() < 0.1 else 0), n) for at, n in calm(chance, sent)]


def uneven(chance: random.Random, sent: list[float]) -> list[tuple[float, int]]:
    """Packets up to 60 ms late, in order."""
    late = [at + (chance.uniform(0, 0.06) if is_bad(at) else 0) for at, _ in calm(chance, sent)]
    return [(at, number) for number, at in enumerate(itertools.accumulate(late, max))]


def stalling(chance: random.Random, sent: list[float]) -> list[tuple[float, int]]:
    """For the last 300 ms of the bad time nothing comes, and then all at once, as from a Wi-Fi adapter that was scanning."""
    return [(max(at, BAD_UNTIL) if at >= BAD_UNTIL - 0.3 else at, number) for at, number in calm(chance, sent)]


SEEDS = range(5)
OWN_STEP = call(0, calm).loudest_step
"""The loudest step from one sample to the next in speech that came well."""


def check(heard: Heard) -> None:
    """Every word is there, nothing clicks, and the delay goes."""
    assert heard.words == [pitch_of(number) for number in range(len(words()))]
    assert heard.loudest_step <= 1.25 * OWN_STEP
    assert heard.worst_between(BAD_UNTIL + 5, END) < 30
    assert heard.worst_between(END - 2, END) < 12


@pytest.mark.parametrize("link", [lossy, reordering, uneven, stalling])
def test_a_bad_link_leaves_no_delay(link: Link) -> None:
    """Five seconds after loss, reordering, jitter or a stall of 300 ms a word takes under 30 ms again, though nobody ever paused."""
    for seed in SEEDS:
        check(call(seed, link))


@pytest.mark.parametrize("length_s", [0.3, 0.58])
def test_a_loop_that_stood_still_leaves_no_delay(length_s: float) -> None:
    """What came while the event loop stood still is heard, faster, and the delay goes."""
    for seed in SEEDS:
        check(call(seed, calm, still=(BAD_UNTIL - length_s, BAD_UNTIL)))


def test_loss_alone_delays_little() -> None:
    """Where every twentieth packet is lost all the time, a word soon takes no longer than the packet that rebuilds a lost one."""
    for seed in SEEDS:
        heard = call(seed, lambda chance, sent: lossy(chance, sent, until=END))
        assert heard.worst_between(END - 4, END) < 65
