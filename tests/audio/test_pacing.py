"""How long frames are held: by the link, and by who speaks."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from discordplex.audio.format import ENGINE
from discordplex.audio.pacing import REPLIES, SPEAKER, STREAM, Pacing, Thinness
from tests.audio.simulation import LOUD, START, arrivals, play, uniform

TICK_MS = ENGINE.frame_ms
FRAME = LOUD[: ENGINE.frame_bytes]
seeds = st.integers(0, 10**6)


def test_a_calm_speaker_waits_for_nothing() -> None:
    """Packets in order are popped at the next tick after they came."""
    times = arrivals(random.Random(6), 500, uniform(0), block_s=0.02)
    played = play(times, lambda _: FRAME, profile=SPEAKER, phase_s=0.003)
    assert played.holes == []
    assert max(hold for _, hold in played.holds) <= TICK_MS


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_a_speakers_pauses_teach_nothing(seed: int) -> None:
    """Utterances that end in Discord's silence frames, 30 ms to 2 s apart: no underrun, and the next one is not held longer."""
    rng = random.Random(seed)
    times: list[float] = []
    pieces: list[bytes] = []
    began = START
    for _ in range(8):
        count = rng.randrange(20, 100)
        times += [began + number * 0.02 for number in range(count)]
        pieces += [FRAME] * (count - 5) + [ENGINE.silence] * 5
        began += count * 0.02 + rng.uniform(0.03, 2)
    played = play(times, lambda number: pieces[number], profile=SPEAKER, phase_s=rng.uniform(0, 0.02))
    assert played.count("underruns") == 0
    assert max(hold for _, hold in played.holds) <= TICK_MS + 0.01


def test_a_speakers_jitter_is_learnt() -> None:
    """Packets late by 0 to 30 ms leave few holes after the first, and are held no longer than the jitter and a tick or two."""
    times = arrivals(random.Random(7), 1500, uniform(30), block_s=0.02)
    played = play(times, lambda _: FRAME, profile=SPEAKER)
    assert len([hole for hole in played.holes if hole.began > START + 3]) <= 2
    assert max(played.holds_between(START + 3, START + 30)) <= 30 + 3.5 * TICK_MS


def paced(offsets_ms: list[float], *, chunk_s: float = 0.08) -> Pacing:
    """A stream's pacing after chunks with these offsets."""
    pacing = Pacing(STREAM)
    for number, offset_ms in enumerate(offsets_ms):
        pacing.arrived(number * chunk_s, chunk_s, START + number * chunk_s + offset_ms / 1000)
    return pacing


def test_the_target_follows_the_spread() -> None:
    """More jitter, more is held, from the floor of a calm link to the ceiling."""
    targets = [paced([0, spread] * 60).target_s * 1000 for spread in (0, 5, 18, 30, 60, 100, 150)]
    assert targets == sorted(targets)
    assert targets[0] == STREAM.floor_ms
    assert targets[-2] > 140
    assert targets[-1] == STREAM.ceiling_ms
    assert all(target >= spread for target, spread in zip(targets, (0, 5, 18, 30, 60, 100, 150), strict=True))


def test_an_unknown_link_is_met_with_care() -> None:
    """Before five seconds have been heard, the initial cushion is held."""
    assert paced([0] * 10).target_s * 1000 == STREAM.initial_ms


def test_a_hole_makes_wary() -> None:
    """After a hole more is held than what was seen, and a stall is told from jitter."""
    calm, holed = paced([0] * 10), paced([0] * 10)
    late = START + 0.8 + 0.05
    calm.arrived(0.8, 0.08, late)
    assert holed.hole(0.8, 0.08, late) is True
    assert holed.target_s > calm.target_s > 0.05
    assert paced([0] * 10).hole(0.8, 0.08, START + 0.8 + 1.0) is False


def test_what_is_held_is_judged_over_several_ticks() -> None:
    """Excess and thinness are told only once enough ticks were seen, and the least counts."""
    pacing = paced([0] * 100)
    for tick in range(5):
        assert pacing.excess_frames == 0
        pacing.tick(5.0 + tick * 0.02, START + 5.1 + tick * 0.02)
    assert pacing.excess_frames == 4
    pacing.tick(5.1, START + 5.15)
    assert pacing.excess_frames == 1
    pacing.put_off()
    assert pacing.excess_frames == 2
    assert pacing.thinness is Thinness.ENOUGH


def test_thin_cover_is_told_before_it_breaks() -> None:
    """Less held than the latest chunk was late is too little; as much as that is little."""
    pacing = paced([0, 40] * 50)
    for held_ms, thinness in ((39, Thinness.TOO_LITTLE), (40.5, Thinness.LITTLE), (60, Thinness.ENOUGH)):
        for tick in range(5):
            pacing.tick(8.0 + tick * 0.02, START + 8.0 + held_ms / 1000 + tick * 0.02)
        assert pacing.thinness is thinness


def test_replies_are_never_too_many() -> None:
    """Where backlog may not be trimmed there is no excess, and playing begins at once."""
    pacing = Pacing(REPLIES)
    pacing.arrived(0.0, 60.0, START)
    assert pacing.may_begin(0.0, START, START)
    for tick in range(10):
        pacing.tick(tick * 0.02, START + 30 + tick * 0.02)
    assert (pacing.excess_frames, pacing.frames_over_ceiling, pacing.thinness) == (0, 0, Thinness.ENOUGH)
