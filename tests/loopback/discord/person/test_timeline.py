"""The timeline alone: where packets are played, what a span holds, who spoke."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.opus import SILENCE_PACKET
from discordplex.loopback.discord.person.timeline import Timeline, peak

FRAME = 960
LOUD = np.full(FRAME, 1000, "<i2").tobytes()


def add(timeline: Timeline, index: int, at: float, *, ssrc: int = 1, timestamp: int | None = None, pcm: bytes = LOUD) -> int:
    stamp = (0xFFFFFF00 + index * FRAME if timestamp is None else timestamp) & 0xFFFFFFFF
    return timeline.track(ssrc).add(sequence=index, timestamp=stamp, at=at, opus=b"o%d" % index, pcm=pcm).position


def test_packets_lie_by_their_timestamps_from_the_first_on() -> None:
    """The first packet's arrival fixes the stream; a late packet is played where its timestamp says."""
    timeline = Timeline(10.0)
    assert [add(timeline, index, 10.5 + late) for index, late in enumerate((0, 0.02, 0.09, 0.06))] == [24_000 + FRAME * i for i in range(4)]


def test_lateness_is_told_beside_it() -> None:
    """What timestamps hide in the sound is in `late_ms`."""
    timeline = Timeline(0.0)
    for index, at in enumerate((1.0, 1.02, 1.09, 1.06)):
        add(timeline, index, at)
    assert timeline.track(1).late_ms() == pytest.approx([0, 0, 50, 0])


def test_the_newest_packets_may_be_walked_through_while_more_come() -> None:
    """A person's packets come on a thread of their own, also while somebody looks at the newest."""
    timeline = Timeline(0.0)
    for index in range(4):
        add(timeline, index, index / 50)
    seen = []
    for packet in timeline.track(1).newest(3):
        seen.append(packet.sequence)
        add(timeline, 4 + len(seen), 1.0)
    assert seen == [3, 2, 1]


def test_a_pause_that_the_timestamp_ignores_is_played_as_a_pause() -> None:
    """After a pause, a stream whose timestamps stood still is fixed anew on the clock; a true one keeps its place."""
    timeline = Timeline(0.0)
    add(timeline, 0, 1.0, timestamp=0)
    assert add(timeline, 1, 2.0, timestamp=FRAME) == 96_000
    assert add(timeline, 2, 3.01, timestamp=FRAME + 48_000) == 144_000


def test_a_gap_stays_silent() -> None:
    """Between two packets with a packet missing, exactly one frame is silence."""
    timeline = Timeline(0.0)
    add(timeline, 0, 1.0)
    add(timeline, 2, 1.04)
    heard = np.frombuffer(timeline.pcm(start_s=1.0), "<i2").reshape(-1, FRAME)
    assert [int(frame.max()) for frame in heard] == [1000, 0, 1000]


def test_voices_are_summed_and_told_apart() -> None:
    """A span without a user holds everybody, clipped; with a user that one alone."""
    timeline = Timeline(0.0)
    shout = np.full(FRAME, 32_000, "<i2").tobytes()
    for ssrc, user in ((1, "ada"), (2, "ben")):
        add(timeline, 0, 1.0, ssrc=ssrc, pcm=shout)
        timeline.claim(ssrc, user)
    assert peak(timeline.pcm(start_s=1.0)) == 32_767
    assert peak(timeline.pcm("ada", start_s=1.0)) == 32_000
    assert timeline.pcm("cleo", start_s=1.0, end_s=1.02) == bytes(2 * FRAME)


def test_only_sound_counts_as_audible() -> None:
    """Seconds of sound leave silence out; Opus packets leave silence packets out."""
    timeline = Timeline(0.0)
    add(timeline, 0, 1.0)
    timeline.track(1).add(sequence=1, timestamp=0, at=1.02, opus=SILENCE_PACKET, pcm=bytes(2 * FRAME))
    timeline.claim(1, "ada")
    assert timeline.audible_s("ada") == pytest.approx(0.02)
    assert timeline.opus("ada") == [b"o0"]


@given(start=st.integers(-2000, 6000), length=st.integers(0, 6000))
def test_any_span_is_the_cut_of_the_whole(start: int, length: int) -> None:
    """Cutting a span gives the samples of the whole at that place, and silence outside."""
    timeline = Timeline(0.0)
    ramp = np.arange(3 * FRAME, dtype="<i2")
    for index in range(3):
        add(timeline, index, index * 0.02, pcm=ramp[index * FRAME : (index + 1) * FRAME].tobytes())
    cut = np.frombuffer(timeline.pcm(start_s=start / 48_000, end_s=(start + length) / 48_000), "<i2")
    padded = np.concatenate([np.zeros(2000, "<i2"), ramp, np.zeros(12_000, "<i2")])
    assert (cut == padded[start + 2000 : start + 2000 + length]).all()


def test_silence_has_no_peak() -> None:
    """No PCM and silent PCM have the peak 0; the most negative sample counts in full."""
    assert (peak(b""), peak(bytes(4)), peak(b"\x00\x80")) == (0, 0, 32_768)


def test_old_sound_is_forgotten() -> None:
    """A timeline keeps the newest sound of each stream, and counts all of it."""
    timeline = Timeline(0.0, keep_s=0.1)
    for index in range(20):
        add(timeline, index, 1.0 + index * 0.02)
    timeline.claim(1, "ada")
    assert timeline.opus("ada") == [b"o%d" % index for index in range(15, 20)]
    assert timeline.audible_s("ada") == pytest.approx(0.4)
