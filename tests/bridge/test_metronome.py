"""When the uplink ticks. Simulated with a virtual clock: no loop, no waiting, every call another phase."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.bridge.metronome import PERIOD_S, SLIDE_S, Metronome, centred, cluster_of
from discordplex.metrics import percentile

Jitter = Callable[[random.Random], float]


def calm(chance: random.Random) -> float:
    """A packet's lateness in seconds on a good link: what a receive thread alone makes uneven."""
    return chance.uniform(0, 0.0003)


def uneven(chance: random.Random) -> float:
    """A worse link: packets up to 6 ms late."""
    return chance.uniform(0, 0.006)


def tailed(chance: random.Random) -> float:
    """Mostly calm, but each fiftieth packet is very late."""
    return chance.uniform(0, 0.001) if chance.random() < 0.98 else chance.uniform(0, 0.019)


@dataclass
class Run:
    """What one simulated call measured."""

    waits_ms: list[float] = field(default_factory=list)
    slides_ms: list[float] = field(default_factory=list)
    offsets_ms: list[float] = field(default_factory=list)


def talk(chance: random.Random, seconds: float, jitter: Jitter) -> Iterator[tuple[float, int]]:
    """Arrivals of one call: two people in turn, each utterance at a phase of its own, with pauses between."""
    at = 0.0
    while at < seconds:
        at += chance.uniform(0.2, 1.5)
        speaker = chance.choice((1, 2))
        last = at
        for packet in range(int(chance.uniform(0.5, 4) / PERIOD_S)):
            last = max(last, at + packet * PERIOD_S + jitter(chance))
            yield last, speaker
        at = last


def simulate(arrivals: Iterator[tuple[float, int]], chance: random.Random, seconds: float) -> Run:
    """Drive a metronome over these arrivals as the uplink does: a plain queue, one frame a tick, ticks up to 1 ms late."""
    run = Run()
    metronome = Metronome(chance.uniform(0, PERIOD_S))
    waiting: deque[tuple[float, int]] = deque(arrivals)
    while metronome.due < seconds:
        now = metronome.due + chance.uniform(0, 0.001)
        before = metronome.offset_s
        if waiting and waiting[0][0] <= now:
            arrival, speaker = waiting.popleft()
            run.waits_ms.append((now - arrival) * 1000)
            metronome.tick(arrival, {speaker})
        else:
            metronome.tick_silent()
        run.slides_ms.append((metronome.offset_s - before) * 1000)
        run.offsets_ms.append(metronome.offset_s * 1000)
    return run


def test_a_frame_waits_a_few_milliseconds() -> None:
    """Over fifty calls of random phase, slides included: the median of the medians is below 12 ms, and no call's p99 above 25 ms."""
    medians: list[float] = []
    for seed in range(50):
        chance = random.Random(seed)
        run = simulate(talk(chance, 20, calm), chance, 20)
        median, late = percentile(run.waits_ms, 50), percentile(run.waits_ms, 99)
        assert median is not None
        assert late is not None
        assert late <= 25
        medians.append(median)
    middle = percentile(medians, 50)
    assert middle is not None
    assert middle < 6


@pytest.mark.parametrize("phase_ms", range(0, 20, 2))
def test_it_settles_just_behind_the_packets(phase_ms: int) -> None:
    """Wherever the packets come, a second later their frames wait for 1.5 to 2 ms of the grid, and stay there."""
    chance = random.Random(phase_ms)
    arrivals = ((phase_ms / 1000 + 0.5 + packet * PERIOD_S, 1) for packet in range(250))
    run = simulate(arrivals, chance, 5)
    settled = run.waits_ms[60:]
    assert min(settled) >= 0.5
    assert max(settled) <= 4.0
    assert all(slide == 0 for slide in run.slides_ms[100:200])


def test_frames_that_missed_their_tick_are_not_left_waiting() -> None:
    """Where each frame waits for a whole period and a little, the ticks go earlier until it waits for the little alone."""
    metronome = Metronome(0.0)
    arrival = 0.0 - 0.0203
    waits_ms = []
    for _ in range(100):
        waits_ms.append((metronome.due - arrival) * 1000)
        metronome.tick(arrival, {1})
        arrival += PERIOD_S
    assert max(waits_ms) <= 20.4
    assert waits_ms[-1] == pytest.approx(1.75, abs=0.3)


def test_no_tick_moves_by_more_than_half_a_millisecond() -> None:
    """Whatever arrives, one tick is 20 ms and at most 0.5 ms after another."""
    chance = random.Random(1)
    run = simulate(talk(chance, 30, tailed), chance, 30)
    assert any(run.slides_ms)
    assert max(map(abs, run.slides_ms)) <= SLIDE_S * 1000 + 1e-9


@pytest.mark.parametrize("jitter", [uneven, tailed])
def test_jitter_does_not_make_it_hunt(jitter: Jitter) -> None:
    """On an uneven link it never goes to and fro: all of its way but 3 ms in ten seconds is in one direction, and ends after a period."""
    for seed in range(10):
        chance = random.Random(seed)
        phase = chance.uniform(0, PERIOD_S)
        arrivals = ((phase + packet * PERIOD_S + jitter(chance), 1) for packet in range(500))
        run = simulate(iter(sorted(arrivals)), chance, 10)
        there, back = sum(filter(lambda slide: slide < 0, run.slides_ms)), sum(filter(lambda slide: slide > 0, run.slides_ms))
        assert min(-there, back) <= 3
        assert max(-there, back) <= 23


def test_arrivals_without_a_phase_are_not_followed() -> None:
    """Packets that come anywhere in the 20 ms leave the ticks where they are."""
    chance = random.Random(3)
    arrivals = sorted((packet * PERIOD_S + chance.uniform(0, PERIOD_S), 1) for packet in range(500))
    run = simulate(iter(arrivals), chance, 10)
    assert sum(map(abs, run.slides_ms[100:])) <= 3


def test_a_drifting_speaker_does_not_pull_the_rate() -> None:
    """A sender whose clock is 0.2 % fast is followed for one frame at most; the long-run rate stays the grid's."""
    chance = random.Random(4)
    arrivals = ((packet * PERIOD_S * 0.998, 1) for packet in range(3000))
    run = simulate(arrivals, chance, 60)
    assert max(map(abs, run.offsets_ms)) <= 20 + 1e-9
    assert abs(len(run.offsets_ms) - 3000) <= 1


def test_a_pause_takes_it_home_to_the_same_phase() -> None:
    """A slide near its bound is undone in silence by a whole period, so that the phase stays and the next slide has room."""
    metronome = Metronome(0.0)
    while metronome.offset_s > -0.0175:
        metronome.tick(metronome.due - 0.0195, {1})
    offset = metronome.offset_s
    for _ in range(60):
        metronome.tick_silent()
    assert metronome.offset_s == pytest.approx(offset + PERIOD_S)
    assert centred(offset) == pytest.approx(metronome.offset_s)


def test_a_stall_is_skipped_and_not_made_up() -> None:
    """After 70 ms of stall three ticks are passed over, the late one is made now, and the next keeps its place on the grid."""
    metronome = Metronome(0.0)
    assert metronome.skip(0.0) == 0
    metronome.tick_silent()
    assert metronome.skip(0.09) == 3
    assert metronome.due == pytest.approx(0.08)
    metronome.tick_silent()
    assert metronome.due == pytest.approx(0.1)
    assert metronome.skip(0.1) == 0


def test_a_tick_late_by_less_than_a_period_is_made() -> None:
    """19 ms late is late, and not skipped."""
    metronome = Metronome(0.0)
    assert metronome.skip(0.019) == 0
    assert metronome.due == 0.0


def test_phases_around_zero_stay_together() -> None:
    """The circle is cut where nothing arrives: 19 ms and 1 ms are neighbours."""
    assert cluster_of(deque([0.001, 0.019, 0.0195, 0.0005])) == pytest.approx((0.0205, 0.021))
    assert cluster_of(deque([0.004])) == pytest.approx((0.004, 0.004))
    assert cluster_of(deque([0.0, 0.005, 0.010, 0.015])) is None


@given(st.lists(st.one_of(st.none(), st.tuples(st.floats(0, 0.1), st.integers(1, 3))), max_size=300))
def test_the_grid_is_never_left(ticks: list[tuple[float, int] | None]) -> None:
    """Whatever is taken and however old: tick n is due within one period of n periods after the start, and after tick n - 1."""
    metronome = Metronome(5.0)
    for count, taken in enumerate(ticks):
        due = metronome.due
        assert abs(due - 5.0 - count * PERIOD_S) <= PERIOD_S + 1e-9
        if taken is None:
            metronome.tick_silent()
        else:
            metronome.tick(due - taken[0], {taken[1]})
        assert abs(metronome.due - due - PERIOD_S) <= SLIDE_S + 1e-9
