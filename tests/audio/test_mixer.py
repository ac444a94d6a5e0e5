"""Speakers are summed, and nothing clips hard or wraps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from discordplex.audio.format import ENGINE
from discordplex.audio.mixer import KNEE, mix, soft_clip
from tests.audio.signals import pcm, samples, tone

frame_arrays = arrays(np.int16, ENGINE.frame_samples, elements=st.integers(-32768, 32767))


def test_nobody_is_silence() -> None:
    """No frame gives one frame of silence."""
    assert mix([]) == ENGINE.silence


def test_one_passes_untouched() -> None:
    """A single speaker is not even rounded, however loud."""
    loud = pcm(tone(0.02, peak=32_767))
    assert mix([loud]) is loud


def test_two_quiet_speakers_are_added() -> None:
    """Below the knee the mix is the exact sum."""
    one, other = tone(0.02, peak=8000), tone(0.02, hz=700, peak=8000)
    assert abs(samples(mix([pcm(one), pcm(other)])) - (one + other)).max() <= 1


def test_loud_speakers_are_bent_not_cut() -> None:
    """Where the sum exceeds full scale, its peaks stay round: no two samples lie flat at the top."""
    one = tone(0.02, hz=500, peak=22_000)
    mixed = samples(mix([pcm(one), pcm(one)]))
    assert 30_000 < mixed.max() < 32_767
    assert (mixed == mixed.max()).sum() <= 2 * 10


@given(st.lists(frame_arrays, min_size=2, max_size=5))
def test_the_mix_never_wraps(speakers: "list[np.typing.NDArray[np.int16]]") -> None:
    """Every mixed sample has the sign of its sum and does not exceed it."""
    total = np.sum(speakers, axis=0, dtype=np.int64)
    mixed = samples(mix([speaker.tobytes() for speaker in speakers]))
    assert (np.sign(mixed) * np.sign(total) >= 0).all()
    assert (abs(mixed) <= abs(total) + 1).all()


def test_the_curve_is_smooth_and_bounded() -> None:
    """Louder stays louder, up to full scale; the slope never jumps by more than the curve's own bend."""
    ramp = np.linspace(-6, 6, 100_001, dtype=np.float32)
    bent = soft_clip(ramp)
    steps = np.diff(bent)
    assert (steps >= 0).all()
    assert abs(bent).max() <= 1.0
    assert abs(np.diff(steps)).max() < 1e-6
    inside = abs(ramp) <= KNEE
    assert (bent[inside] == ramp[inside]).all()
