"""Who is speaking, and whose noise stays outside."""

from collections.abc import Callable

import numpy as np
import pytest

from discordplex.audio.converter import upmix
from discordplex.audio.format import ENGINE
from discordplex.audio.sink import Sink
from discordplex.bridge.gated_sink import FORGET_S, GatedSink
from discordplex.engine import SpeakerId
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from tests.audio import signals
from tests.audio.signals import pcm

ANNA, BERT = 1, 2
TICK_S = ENGINE.frame_seconds


def tone(peak: int) -> bytes:
    """One frame of a 300 Hz tone."""
    return pcm(signals.tone(ENGINE.frame_seconds, hz=300, peak=peak))


SPEECH, NOISE = tone(4000), tone(60)


class Mouths:
    """A sink that gives what a test put into it for this tick."""

    def __init__(self) -> None:
        self.frames: dict[SpeakerId, bytes] = {}
        self.forgotten: list[SpeakerId] = []
        self.last_arrival: float | None = 7.0
        self.surplus_s: float | None = 0.004
        self.on_all_heard: Callable[[], None] = lambda: None

    def take(self, _now: float | None = None, /) -> dict[SpeakerId, bytes]:
        return self.frames

    def forget(self, user_id: SpeakerId, /) -> None:
        self.forgotten.append(user_id)


@pytest.fixture
def mouths() -> Mouths:
    return Mouths()


async def hear(floor: GatedSink, clock: FakeClock, ticks: int) -> list[dict[SpeakerId, bytes]]:
    """So many ticks of what the mouths say."""
    heard = []
    for _tick in range(ticks):
        heard.append(dict(floor.take()))
        await clock.advance(TICK_S)
    return heard


async def test_who_speaks_is_known_by_level_and_by_packets(mouths: Mouths, clock: FakeClock) -> None:
    """A voice counts after two frames, noise never; a voice whose packets stop counts no longer after a moment."""
    floor = GatedSink(mouths, clock=clock)
    mouths.frames = {ANNA: SPEECH, BERT: NOISE}
    await hear(floor, clock, 3)
    assert floor.speaking == {ANNA}
    assert floor.quiet_s == pytest.approx(TICK_S)
    mouths.frames = {BERT: NOISE}
    await hear(floor, clock, 100)
    assert floor.quiet_s == pytest.approx(100 * TICK_S, abs=0.4)
    mouths.frames = {}
    await hear(floor, clock, 20)
    assert floor.speaking == frozenset()
    await clock.advance(60)
    assert floor.quiet_s == pytest.approx(60 + 120 * TICK_S, abs=0.4)


async def test_without_the_gate_nothing_is_changed(mouths: Mouths, clock: FakeClock) -> None:
    """What the sink gives passes as it is, noise included."""
    floor = GatedSink(mouths, clock=clock)
    mouths.frames = {ANNA: SPEECH, BERT: NOISE}
    assert await hear(floor, clock, 2) == [mouths.frames] * 2
    assert floor.last_arrival == mouths.last_arrival


async def test_with_the_gate_noise_is_silence(mouths: Mouths, clock: FakeClock) -> None:
    """Nobody speaks: the engine gets nothing at all. A word passes from its first loud frame, and its quiet end as well."""
    floor = GatedSink(mouths, clock=clock, noise_gate=True)
    mouths.frames = {ANNA: NOISE, BERT: NOISE}
    assert await hear(floor, clock, 10) == [{}] * 10
    assert floor.last_arrival is None
    assert floor.surplus_s is None
    mouths.frames = {ANNA: SPEECH, BERT: NOISE}
    assert await hear(floor, clock, 10) == [{ANNA: SPEECH}] * 10
    mouths.frames = {ANNA: NOISE}
    tail = await hear(floor, clock, 30)
    assert tail[:14] == [{ANNA: NOISE}] * 14
    assert tail[15:] == [{}] * 15


async def test_who_is_forgotten_leaves_no_trace(mouths: Mouths, clock: FakeClock) -> None:
    """Neither here nor in the sink; who is silent for a minute needs no gate."""
    floor = GatedSink(mouths, clock=clock)
    mouths.frames = {ANNA: SPEECH}
    await hear(floor, clock, 3)
    floor.forget(ANNA)
    assert mouths.forgotten == [ANNA]
    assert floor.speaking == frozenset()
    assert floor.take()[ANNA] == SPEECH
    mouths.frames = {}
    await clock.advance(FORGET_S + 1)
    floor.take()
    mouths.frames = {ANNA: SPEECH}
    floor.take()
    assert floor.speaking == frozenset(), "a new gate opens after two frames"


async def test_a_jittery_speaker_does_not_delay_the_others(clock: FakeClock) -> None:
    """One's packets come five at a time and late; the other's are heard in the tick in which they came, all of them, all the time."""
    sink = Sink(clock=clock, metrics=Metrics())
    floor = GatedSink(sink, clock=clock)
    heard: list[int] = []
    jittery = 0
    for tick in range(200):
        sink.write(upmix(np.full(ENGINE.frame_samples, 1000 + tick, "<i2").tobytes()), ANNA)
        if tick % 5 == 4:
            await clock.advance(0.007)
            for _ in range(5):
                sink.write(upmix(SPEECH), BERT)
            await clock.advance(TICK_S - 0.008)
        else:
            await clock.advance(TICK_S - 0.001)
        frames = floor.take()
        heard.append(int(np.frombuffer(frames[ANNA], "<i2")[0]) - 1000)
        jittery += BERT in frames
        await clock.advance(0.001)
    assert heard == list(range(200))
    assert jittery > 180


def test_who_is_ignored_is_dropped_though_the_sink_gives_them(mouths: Mouths, clock: FakeClock) -> None:
    """A frame of theirs goes no further, and counts as silence."""
    floor = GatedSink(mouths, clock=clock)
    mouths.frames = {ANNA: SPEECH, BERT: SPEECH}
    floor.ignored = frozenset({ANNA})
    assert set(floor.take()) == {BERT}
    mouths.frames = {ANNA: SPEECH}
    assert floor.take() == {}
    assert floor.last_arrival is None
