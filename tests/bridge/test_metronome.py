"""When the uplink ticks. Simulated in virtual time with the real buffers of the speakers: no loop, no waiting, every call another phase."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.fades import is_quiet
from discordplex.audio.format import ENGINE
from discordplex.audio.pacing import SPEAKER
from discordplex.audio.phase import SLIDE_S
from discordplex.audio.playout import PlayoutBuffer
from discordplex.bridge.metronome import BEHIND_S, PERIOD_S, RANGE_S, Metronome, centred
from discordplex.metrics import Metrics, percentile

Jitter = Callable[[random.Random], float]
LOUD = b"\x00\x20" * ENGINE.frame_samples


def calm(chance: random.Random) -> float:
    """A packet's lateness in seconds on a good link: what a loop alone makes uneven."""
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
    holes: int = 0


def talk(chance: random.Random, seconds: float, jitter: Jitter) -> Iterator[tuple[float, int]]:
    """Arrivals of one call: two people in turn, each utterance at a phase of its own, with pauses between, which end in quiet frames."""
    at = 0.0
    while at < seconds:
        at += chance.uniform(0.2, 1.5)
        speaker = chance.choice((1, 2))
        last = at
        for packet in range(int(chance.uniform(0.5, 4) / PERIOD_S)):
            last = max(last, at + packet * PERIOD_S + jitter(chance))
            yield last, speaker
        for _ in range(5):
            last += PERIOD_S
            yield last, -speaker
        at = last


def simulate(arrivals: Iterable[tuple[float, int]], chance: random.Random, seconds: float) -> Run:
    """Drive a metronome over these arrivals as the uplink does, ticks up to 1 ms late; a negative speaker's frame is a quiet one."""
    run, metrics = Run(), Metrics()
    metronome = Metronome(chance.uniform(0, PERIOD_S))
    coming: deque[tuple[float, int]] = deque(arrivals)
    buffers = {speaker: PlayoutBuffer(profile=SPEAKER, metrics=metrics, name="sink") for speaker in (1, 2)}
    while metronome.due < seconds:
        now = metronome.due + chance.uniform(0, 0.001)
        before = metronome.offset_s
        while coming and coming[0][0] <= now:
            arrival, speaker = coming.popleft()
            buffers[abs(speaker)].push(LOUD if speaker > 0 else ENGINE.silence, arrival)
        taken = [(buffer, frame) for buffer in buffers.values() if (frame := buffer.pop(now)) is not None]
        if taken:
            run.waits_ms += [(now - buffer.popped_arrival) * 1000 for buffer, _ in taken]
        if taken and metronome.wants_quiet and all(is_quiet(frame) for _, frame in taken):
            metronome.tick_quiet()
        elif taken:
            metronome.tick(min((buffer.surplus_s for buffer, _ in taken if buffer.surplus_s is not None), default=None))
        else:
            metronome.tick_silent()
        run.slides_ms.append((metronome.offset_s - before) * 1000)
        run.offsets_ms.append(metronome.offset_s * 1000)
    run.holes = metrics.counter("sink.underruns").value
    return run


def middle(values: list[float], percent: float = 50) -> float:
    found = percentile(values, percent)
    assert found is not None
    return found


def test_a_frame_waits_a_few_milliseconds() -> None:
    """Over fifty calls of random phase, slides included: the median of the medians is below 6 ms, and no call's p99 above 25 ms."""
    medians: list[float] = []
    for seed in range(50):
        chance = random.Random(seed)
        run = simulate(talk(chance, 20, calm), chance, 20)
        assert middle(run.waits_ms, 99) <= 25
        medians.append(middle(run.waits_ms))
    assert middle(medians) < 6


@pytest.mark.parametrize("phase_ms", range(0, 20, 2))
def test_it_settles_just_behind_the_packets(phase_ms: int) -> None:
    """Wherever the packets come, a second later their frames wait for two or three milliseconds, and the ticks stay there."""
    chance = random.Random(phase_ms)
    arrivals = [(phase_ms / 1000 + 0.5 + packet * PERIOD_S, 1) for packet in range(250)]
    run = simulate(arrivals, chance, 5)
    settled = run.waits_ms[60:]
    assert min(settled) >= 0.5
    assert max(settled) <= 4.0
    assert sum(map(abs, run.slides_ms[100:200])) <= 2


def test_frames_that_missed_their_tick_are_not_left_waiting() -> None:
    """A packet that misses its tick makes all after it wait for one more; two seconds later they wait for the link's jitter alone."""
    chance = random.Random(5)
    arrivals = [(0.5 + packet * PERIOD_S + (0.005 if packet == 100 else 0.0), 1) for packet in range(300)]
    run = simulate(arrivals, chance, 6)
    assert run.holes == 1
    assert max(run.waits_ms) > 18
    assert middle(run.waits_ms[200:]) < 9


def test_no_tick_moves_by_more_than_half_a_millisecond() -> None:
    """Whatever arrives, one tick is 20 ms and at most 0.5 ms after another."""
    chance = random.Random(1)
    run = simulate(talk(chance, 30, tailed), chance, 30)
    assert any(run.slides_ms)
    assert max(map(abs, run.slides_ms)) <= SLIDE_S * 1000 + 1e-9


@pytest.mark.parametrize("jitter", [calm, uneven])
def test_jitter_does_not_make_it_hunt(jitter: Jitter) -> None:
    """Once it has learnt an uneven link it does not go to and fro: in eight seconds, all of its way but 3 ms is in one direction."""
    for seed in range(10):
        chance = random.Random(seed)
        phase = chance.uniform(0, PERIOD_S)
        arrivals = ((phase + packet * PERIOD_S + jitter(chance), 1) for packet in range(500))
        run = simulate(sorted(arrivals), chance, 10)
        learnt = run.slides_ms[100:]
        there, back = sum(slide for slide in learnt if slide < 0), sum(slide for slide in learnt if slide > 0)
        assert min(-there, back) <= 3
        assert run.holes <= 3


def unbroken(chance: random.Random, packets: int, jitter: Jitter) -> list[tuple[float, int]]:
    """Somebody who sends all the time, speech and quiet frames by turns."""
    found: list[tuple[float, int]] = []
    speaker = 1
    while len(found) < packets:
        for _ in range(chance.randrange(50, 200) if speaker > 0 else chance.randrange(15, 60)):
            found.append((0.1 + len(found) * PERIOD_S + jitter(chance), speaker))
        speaker = -speaker
    return sorted(found)


def test_a_bad_link_is_waited_for() -> None:
    """Where each fiftieth packet is up to 19 ms late, few frames miss their tick, and those that do delay the others for a while only."""
    medians = []
    for seed in range(10):
        chance = random.Random(seed)
        run = simulate(unbroken(chance, 1000, tailed), chance, 20)
        assert run.holes <= 12
        medians.append(middle(run.waits_ms))
    assert middle(medians) < 18


def test_rare_hiccups_do_not_delay_all_that_follows() -> None:
    """Where one packet in 250 comes 10 to 40 ms late, the others wait as if it had not."""

    def hiccups(chance: random.Random) -> float:
        return calm(chance) + (chance.uniform(0.01, 0.04) if chance.random() < 0.004 else 0)

    medians = []
    for seed in range(10):
        chance = random.Random(seed)
        medians.append(middle(simulate(unbroken(chance, 1500, hiccups), chance, 30).waits_ms))
    assert middle(medians) < 8


def test_quiet_frames_take_it_home_too() -> None:
    """Who sends without a pause gives no silent tick; from more than a period away, their quiet frames bring the ticks back."""
    metronome = Metronome(0.0)
    for _ in range(39):
        metronome.tick(0.010)
    near = metronome.wants_quiet
    for _ in range(11):
        metronome.tick(0.010)
    assert not near
    assert metronome.offset_s == pytest.approx(-0.025)
    for _ in range(39):
        metronome.tick_quiet()
    on_the_way = metronome.wants_quiet
    for _ in range(5):
        metronome.tick_quiet()
    assert on_the_way
    assert not metronome.wants_quiet
    assert metronome.offset_s == pytest.approx(-0.005)


def test_a_drifting_speaker_does_not_pull_the_rate() -> None:
    """A sender whose clock is 0.2 % fast is followed as far as the range goes; the long-run rate stays the grid's."""
    chance = random.Random(4)
    arrivals = [(packet * PERIOD_S * 0.998, 1) for packet in range(3000)]
    run = simulate(arrivals, chance, 60)
    assert max(map(abs, run.offsets_ms)) <= RANGE_S * 1000 + 1e-9
    assert abs(len(run.offsets_ms) - 3000) <= 2


def test_a_pause_takes_it_home_to_the_same_phase() -> None:
    """A slide far from the grid is undone in silence by whole periods, so that the phase stays and the next slide has room."""
    metronome = Metronome(0.0)
    while metronome.offset_s > -0.0375:
        metronome.tick(0.010)
    offset = metronome.offset_s
    for _ in range(100):
        metronome.tick_silent()
    assert metronome.offset_s == pytest.approx(offset + 2 * PERIOD_S)
    assert centred(offset) == pytest.approx(metronome.offset_s)


def test_unknown_speakers_leave_it_where_it_is() -> None:
    """Until the sink knows a speaker's packets, and where the ticks are in their place, nothing moves."""
    metronome = Metronome(0.0)
    for surplus_s in (None, BEHIND_S, BEHIND_S + 0.001, BEHIND_S - 0.001):
        metronome.tick(surplus_s)
    assert metronome.offset_s == 0.0
    assert metronome.due == pytest.approx(4 * PERIOD_S)


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


@given(st.lists(st.one_of(st.sampled_from(["silent", "quiet"]), st.none(), st.floats(-0.1, 0.1)), max_size=300))
def test_the_grid_is_never_left(ticks: list[str | float | None]) -> None:
    """Whatever is taken and however old: tick n is due within two periods of n periods after the start, and after tick n - 1."""
    metronome = Metronome(5.0)
    for count, taken in enumerate(ticks):
        due = metronome.due
        assert abs(due - 5.0 - count * PERIOD_S) <= RANGE_S + 1e-9
        if isinstance(taken, str):
            {"silent": metronome.tick_silent, "quiet": metronome.tick_quiet}[taken]()
        else:
            metronome.tick(taken)
        assert abs(metronome.due - due - PERIOD_S) <= SLIDE_S + 1e-9
