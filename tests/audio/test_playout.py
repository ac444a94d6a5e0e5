"""The playout buffer's budgets, each a simulation in virtual time."""

import itertools
import random
import statistics
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discordplex.audio.fades import RAMP_SAMPLES
from discordplex.audio.format import ENGINE
from discordplex.audio.pacing import REPLIES, SPEAKER, STREAM, Profile
from discordplex.audio.playout import PlayoutBuffer
from discordplex.metrics import Metrics
from tests.audio.signals import frames, pcm, samples, tone
from tests.audio.simulation import (
    BLOCK_S,
    LOUD,
    QUIET,
    START,
    arrivals,
    loud,
    play,
    quiet,
    real_server,
    stalled,
    talk,
    uniform,
)

TICK_MS = ENGINE.frame_ms
FRAME = LOUD[: ENGINE.frame_bytes]
seeds = st.integers(0, 10**6)
contents = pytest.mark.parametrize("content", [loud, quiet, talk])
Content = Callable[[int], bytes]


def buffer(profile: Profile = STREAM) -> tuple[PlayoutBuffer, Metrics]:
    metrics = Metrics()
    return PlayoutBuffer(profile=profile, metrics=metrics, name="test"), metrics


@contents
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_no_holes_at_the_real_servers_spacing(content: Content, seed: int) -> None:
    """Blocks 71 to 98 ms apart are heard without a hole, from the first one on."""
    rng = random.Random(seed)
    played = play(arrivals(rng, 250, real_server), content, phase_s=rng.uniform(0, 0.02))
    assert played.holes == []
    assert played.count("underruns") == 0


def test_the_real_servers_blocks_are_held_for_less_than_30_ms() -> None:
    """Over 50 calls of 20 s with a random phase, the median of the medians from push to pop is under 30 ms."""
    medians = []
    for seed in range(50):
        rng = random.Random(seed)
        played = play(arrivals(rng, 250, real_server), talk, phase_s=rng.uniform(0, 0.02))
        medians.append(statistics.median(hold for _, hold in played.holds))
    assert statistics.median(medians) < 30


@contents
def test_a_perfect_link_needs_one_frame(content: Content) -> None:
    """Without jitter, a block is held for less than two frames: the 18 ms that even a calm engine may be late, and its tick."""
    for phase_s in (0.0, 0.005, 0.012, 0.019):
        played = play(arrivals(random.Random(1), 250, uniform(0)), content, phase_s=phase_s)
        assert played.holes == []
        assert max(played.holds_between(START + 8, START + 20)) <= 18 + TICK_MS


@pytest.mark.parametrize("pieces", [1, 2])
@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_late_blocks_cost_two_holes_at_most(pieces: int, seed: int) -> None:
    """Each block late by 0 to 150 ms at random, even in a monologue: two holes in the first 2 s, then none.

    At most 150 ms are held, and the wait for the next tick, whose phase is the sender's.
    """
    rng = random.Random(seed)
    times = [time for time in arrivals(rng, 375, uniform(150)) for _ in range(pieces)]
    played = play(times, lambda _: LOUD[: len(LOUD) // pieces], phase_s=rng.uniform(0, 0.02))
    assert len([hole for hole in played.holes if hole.began <= START + 2]) <= 2
    assert [hole for hole in played.holes if hole.began > START + 2] == []
    assert max(hold for _, hold in played.holds[::pieces]) <= 150 + TICK_MS + 0.01


@pytest.mark.parametrize("content", [loud, talk])
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_calm_after_the_storm(content: Content, seed: int) -> None:
    """Ten seconds after the last late block, no block is held for 40 ms any more, and getting there cost no hole."""
    rng = random.Random(seed)
    times = arrivals(rng, 400, lambda r, number: r.uniform(0, 0.15 if number < 125 else 0.009))
    played = play(times, content, phase_s=rng.uniform(0, 0.02))
    assert max(played.holds_between(START + 20, START + 40)) < 40
    assert [hole for hole in played.holes if hole.began > START + 2] == []


@pytest.mark.parametrize(("pause_s", "least_ms", "most_ms"), [(1.5, 60, 110), (5.5, 0, 30), (60, 0, 30)])
def test_a_bad_link_is_forgotten_in_a_long_pause(pause_s: float, least_ms: float, most_ms: float) -> None:
    """A person whose packets were late for eight seconds speaks again, and the link is calm: only after a short pause are they held."""
    times = arrivals(random.Random(1), 100, uniform(70))
    again = times[-1] + BLOCK_S + pause_s
    times += [again + number * BLOCK_S for number in range(100)]
    played = play(times, profile=SPEAKER)
    assert least_ms < max(played.holds_between(again, again + 2)) < most_ms
    assert max(played.holds_between(again + 4, again + 8)) < 30
    assert played.count("stalls") == 1  # these speakers stop within a word


@pytest.mark.parametrize("length_s", [0.25, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("content", [loud, talk])
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_a_stall_leaves_no_backlog(content: Content, length_s: float, seed: int) -> None:
    """What bursts in after a stall is trimmed within 2 s, and the calm link is not taken for a bad one."""
    rng = random.Random(seed)
    end = START + 8 + length_s
    times = stalled(arrivals(rng, 300, uniform(9)), START + 8, length_s)
    played = play(times, content, phase_s=rng.uniform(0, 0.02))
    assert max(played.holds_between(end + 2, end + 8)) < 45
    assert len(played.holes) == played.count("stalls") == 1
    assert played.count("underruns") == 0


def test_backlog_goes_in_silence_where_there_is_some() -> None:
    """A burst with a pause in it costs no speech: it is waited for, and every loud frame is heard."""
    times = stalled(arrivals(random.Random(1), 200, uniform(0)), START + 8, 0.8)
    silent = range(102, 116)
    played = play(times, lambda number: QUIET if number in silent else LOUD, until=times[-1] + 0.2)
    loud_heard = sum(any(frame) for _, frame in played.heard)
    pushed_loud = 4 * (200 - len(silent))
    assert played.count("trimmed") > 30
    assert pushed_loud == loud_heard


def test_what_a_speaker_said_in_a_stall_is_heard_faster() -> None:
    """Half a second that comes at once, without a pause in it: soft frames between the loud ones go, all loud ones but two are heard."""
    soft = pcm(tone(0.02, hz=300, peak=600))
    times = stalled(arrivals(random.Random(1), 300, uniform(0), block_s=0.02), START + 3, 0.5)
    played = play(times, lambda number: soft if number % 3 == 0 else FRAME, profile=SPEAKER, until=times[-1] + 0.1)
    loud_heard = sum(max(samples(frame)[RAMP_SAMPLES:]) > 1000 for _, frame in played.heard)
    assert played.count("trimmed") > 20
    assert loud_heard >= sum(number % 3 > 0 for number in range(len(times))) - 2
    assert max(played.holds_between(START + 5.5, START + 6)) <= TICK_MS


def test_a_trim_within_speech_does_not_click() -> None:
    """Where loud frames are left out, no step between samples is larger than the tone's own, twice."""
    sound = pcm(tone(16.0, hz=311))
    blocks = frames(sound, len(LOUD))
    times = stalled(arrivals(random.Random(1), len(blocks), uniform(0)), START + 8, 0.3)
    played = play(times, lambda number: blocks[number])
    assert played.count("trimmed") > 5
    after = samples(b"".join(frame for at, frame in played.heard if at > START + 8.3))
    own_step = abs(samples(sound)[1:] - samples(sound)[:-1]).max()
    assert abs(after[1:] - after[:-1]).max() < 2.5 * own_step


def test_a_stretch_within_speech_does_not_click() -> None:
    """Where a loud frame is played twice, no step between samples is larger than the tone's own, twice and a half."""
    sound = pcm(tone(16.0, hz=311))
    blocks = frames(sound, len(LOUD))
    own_step = abs(samples(sound)[1:] - samples(sound)[:-1]).max()
    for seed in (0, 12, 24):
        played = play(arrivals(random.Random(seed), len(blocks), uniform(150)), lambda number: blocks[number])
        assert played.count("stretched") > 0
        assert played.holes == []
        heard = samples(b"".join(frame for _, frame in played.heard))
        assert abs(heard[1:] - heard[:-1]).max() < 2.5 * own_step


def test_each_excess_gets_its_own_patience() -> None:
    """A player that is 40 ms late for 280 ms, again and again: each time the excess goes by itself, and no loud frame is cut for it."""
    ticks = itertools.count()
    played = play(arrivals(random.Random(2), 250, uniform(0)), late_tick=lambda: 0.04 if next(ticks) % 60 > 45 else 0.0)
    assert played.count("trimmed") == 0
    assert all(any(frame) for _, frame in played.heard)


def test_the_odd_end_of_a_reply_follows_at_once() -> None:
    """Half a frame that nothing will complete is played at the tick after the last whole one, and not after a tick of silence."""
    playout, _ = buffer(REPLIES)
    playout.push(FRAME + FRAME[:960], START)
    heard = [playout.pop(START + 0.021 + tick * 0.02) for tick in range(3)]
    assert heard == [FRAME, FRAME[:960] + bytes(len(FRAME) - 960), None]


def test_a_producer_that_stops_for_a_while_is_not_late() -> None:
    """After a pause of three seconds in which nothing was made, blocks are held no longer than before."""
    times = arrivals(random.Random(2), 200, lambda rng, number: rng.uniform(0, 0.009) + (3 if number >= 100 else 0))
    played = play(times)
    before = max(played.holds_between(START + 6, START + 7.5))
    assert max(played.holds_between(START + 12, START + 18)) <= before + TICK_MS
    assert (played.count("stalls"), played.count("underruns")) == (1, 0)


@pytest.mark.parametrize("drift", [300e-6, -300e-6])
def test_drifting_clocks_meet_again(drift: float) -> None:
    """An engine clock off by 300 ppm for five minutes leaves no hole and no growing delay where there are pauses."""
    times = arrivals(random.Random(3), 3750, lambda rng, number: rng.uniform(0, 0.009) + number * BLOCK_S * drift)
    played = play(times, talk)
    assert played.holes == []
    assert max(hold for _, hold in played.holds) < 50


def test_a_late_consumer_is_not_taken_for_backlog() -> None:
    """Ticks that come up to 15 ms late now and then make nothing be dropped or doubled."""
    rng = random.Random(4)
    played = play(arrivals(rng, 250, uniform(9)), late_tick=lambda: rng.choice([0.0] * 9 + [rng.uniform(0, 0.015)]))
    assert (played.holes, played.count("trimmed"), played.count("stretched")) == ([], 0, 0)


@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_any_cut_of_the_blocks_plays_alike(pieces: int) -> None:
    """80 ms at once, as two 40 ms or as four 20 ms messages: the same frames, the same hold."""
    times = arrivals(random.Random(5), 100, uniform(9))
    whole = play(times)
    cut = play([time for time in times for _ in range(pieces)], lambda _: LOUD[: len(LOUD) // pieces])
    assert cut.heard == whole.heard
    assert cut.holds[::pieces] == whole.holds


def test_a_whole_reply_is_kept_whole() -> None:
    """A minute of speech pushed at once plays from the next tick to its last sample, and its odd end is padded."""
    playout, metrics = buffer(REPLIES)
    reply = pcm(tone(60.0))[:-500]
    playout.push(reply, START)
    heard: list[bytes | None] = []
    now = START
    while playout.depth_ms or len(heard) < 10:
        now += 0.02
        heard.append(playout.pop(now))
    said = b"".join(frame for frame in heard if frame is not None)
    assert said.rstrip(b"\0") == reply.rstrip(b"\0")
    assert heard[0] is not None
    assert metrics.counter("test.trimmed").value == 0


def test_a_second_reply_is_no_hole() -> None:
    """Replies with silence between them teach nothing and begin at once."""
    playout, metrics = buffer(REPLIES)
    for number in range(5):
        playout.push(LOUD, START + number * 3)
        assert [playout.pop(START + number * 3 + 0.02 * tick) is None for tick in range(6)] == [False] * 4 + [True] * 2
    assert metrics.counter("test.underruns").value == 0


@pytest.mark.parametrize(("profile", "most_ms"), [(STREAM, 2000), (SPEAKER, 600)])
def test_what_is_pushed_into_the_void_is_bounded(profile: Profile, most_ms: int) -> None:
    """With nobody popping, the newest audio stays, the oldest goes, and each frame that went is counted."""
    playout, metrics = buffer(profile)
    for number in range(1000):
        playout.push(LOUD, START + number * BLOCK_S)
    assert playout.depth_ms == most_ms
    assert metrics.counter("test.overruns").value == 4000 - most_ms // TICK_MS


def test_a_frame_that_waited_too_long_is_not_played() -> None:
    """After five seconds without a pop, what a speaker said then is dropped and counted."""
    playout, metrics = buffer(SPEAKER)
    playout.push(FRAME * 3, START)
    assert playout.pop(START + 5) is None
    assert metrics.counter("test.expired").value == 3


def test_flush_empties_and_counts() -> None:
    """Flushing tells how many samples were thrown away, an unfinished frame included, and later audio plays."""
    playout, _ = buffer()
    playout.push(LOUD + LOUD[:100], START)
    assert playout.flush() == len(LOUD + LOUD[:100]) // 2
    assert playout.depth_ms == 0
    assert playout.passed_samples == playout.pushed_samples
    assert playout.pop(START + 0.05) is None
    playout.push(LOUD, START + BLOCK_S)
    assert playout.pop(START + BLOCK_S + 0.05) is not None


def test_what_was_flushed_while_dry_was_not_missed() -> None:
    """A hole that a flush ended teaches nothing: what comes after it was not waited for."""
    playout, metrics = buffer()
    playout.push(LOUD, START)
    for tick in range(8):
        playout.pop(START + 0.021 + tick * 0.02)
    playout.flush()
    playout.push(LOUD, START + BLOCK_S + 0.1)
    assert metrics.counter("test.underruns").value == 0


def test_flushing_does_not_lengthen_the_hold() -> None:
    """A stream that goes on after a flush is held as before."""
    playout, metrics = buffer()
    for number in range(200):
        playout.push(LOUD, START + number * BLOCK_S)
        for tick in range(4):
            playout.pop(START + number * BLOCK_S + 0.021 + tick * 0.02)
        if number == 150:
            playout.flush()
    assert metrics.counter("test.underruns").value == 0
    assert metrics.histogram("test.hold_ms").percentile(99) == pytest.approx(21)


@given(st.lists(st.one_of(st.integers(0, 6000), st.none(), st.just(-1)), max_size=60), st.sampled_from([STREAM, SPEAKER, REPLIES]))
def test_every_sample_is_accounted_for(steps: list[int | None], profile: Profile) -> None:
    """Whatever is pushed, popped and flushed, pushed is passed plus waiting, and a frame is a frame."""
    playout, _ = buffer(profile)
    now = START
    for step in steps:
        now += 0.007
        if step is None:
            frame = playout.pop(now)
            assert frame is None or len(frame) == ENGINE.frame_bytes
        elif step < 0:
            playout.flush()
        else:
            playout.push(bytes(step * 2), now)
        waiting = round(playout.depth_ms * ENGINE.rate_hz / 1000)
        assert playout.pushed_samples == playout.passed_samples + waiting


def test_two_threads_lose_nothing() -> None:
    """One thread pushes a million samples while another pops: what comes out is what went in, in order."""
    playout, metrics = buffer(REPLIES)
    sent = [number.to_bytes(2, "little") * ENGINE.frame_samples for number in range(1, 1001)]
    heard: list[bytes] = []
    pushed = threading.Event()

    def consume() -> None:
        now = START
        while not (pushed.is_set() and playout.depth_ms == 0):
            now += 1e-9
            if (frame := playout.pop(now)) is not None:
                heard.append(frame)

    consumer = threading.Thread(target=consume)
    consumer.start()
    for frame in sent:
        playout.push(frame, START)
    pushed.set()
    consumer.join()
    assert heard == sent
    assert metrics.counter("test.overruns").value == 0
