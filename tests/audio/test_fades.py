"""Joins and ends are smooth."""

import numpy as np
import pytest

from discordplex.audio.fades import QUIET_RMS, RAMP_SAMPLES, crossfade, fade_in, fade_out, is_quiet
from discordplex.audio.format import ENGINE
from tests.audio.signals import pcm, samples, tone

ONE = pcm(tone(0.02, hz=500))
OTHER = pcm(tone(0.02, hz=300, peak=4000))


def test_a_crossfade_begins_in_one_and_ends_in_the_other() -> None:
    """The first sample is nearly the leaving frame's, everything behind the ramp the coming one's."""
    joined = samples(crossfade(ONE, OTHER))
    assert len(joined) == ENGINE.frame_samples
    assert abs(joined[10] - samples(ONE)[10]) < 500
    assert (joined[RAMP_SAMPLES:] == samples(OTHER)[RAMP_SAMPLES:]).all()


def test_a_crossfade_of_a_frame_with_itself_is_the_frame() -> None:
    """The two ramps add up to one."""
    assert abs(samples(crossfade(ONE, ONE)) - samples(ONE)).max() <= 1


def test_fading_in_starts_at_nothing() -> None:
    """The ramp rises from silence and leaves the rest alone."""
    loud = np.full(ENGINE.frame_samples, 20_000.0)
    faded = samples(fade_in(pcm(loud)))
    assert faded[0] < 100
    assert (np.diff(faded) >= 0).all()
    assert (faded[RAMP_SAMPLES:] == 20_000).all()


def test_fading_out_goes_on_from_the_last_sample() -> None:
    """The tail continues where the frame stopped and ends in silence."""
    last = samples(ONE)[-1]
    tail = samples(fade_out(ONE))
    assert len(tail) == ENGINE.frame_samples
    assert abs(tail[0] - last) <= abs(last) * 0.01 + 1
    assert not tail[RAMP_SAMPLES:].any()


@pytest.mark.parametrize(("peak", "quiet"), [(0, True), (QUIET_RMS, True), (QUIET_RMS * 2, False), (30_000, False)])
def test_quiet_is_a_matter_of_level(peak: float, *, quiet: bool) -> None:
    """Idle noise is quiet, speech is not."""
    assert is_quiet(pcm(tone(0.02, peak=peak))) is quiet
