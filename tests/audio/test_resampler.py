"""Other rates, the same sound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from discordplex.audio.resampler import Resampler
from discordplex.errors import LocalProtocolError
from tests.audio.signals import level_db, pcm, samples, tone

RATES = [(48_000, 16_000), (16_000, 48_000), (22_050, 48_000), (44_100, 48_000), (8000, 48_000), (24_000, 48_000), (48_000, 48_000)]

int16_arrays = arrays(np.int16, st.integers(0, 2000), elements=st.integers(-32768, 32767))


@settings(deadline=None)  # a rate's filter is designed when it is first used
@given(int16_arrays, st.lists(st.integers(0, 1500), max_size=8), st.sampled_from(RATES))
def test_in_pieces_is_whole(signal: "np.typing.NDArray[np.int16]", lengths: list[int], rates: tuple[int, int]) -> None:
    """However the bytes are cut, even within a sample, the result is the same to the last bit, and as long as it should be."""
    data = signal.tobytes()
    bounds = np.minimum(np.cumsum([0, *lengths]), len(data)).tolist()
    pieces = [data[start:end] for start, end in zip(bounds, [*bounds[1:], len(data)], strict=True)]
    resampler = Resampler(*rates)
    whole = Resampler(*rates).convert(data)
    assert b"".join(map(resampler.convert, pieces)) == whole
    assert len(whole) // 2 == -(-len(signal) * rates[1] // rates[0])


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_a_tone_stays_that_tone(from_hz: int, to_hz: int) -> None:
    """A tone at 0.4 of the lower rate arrives with its level and its phase, later by the filter's delay."""
    low = min(from_hz, to_hz)
    hz = round(low * 0.4)
    heard = samples(Resampler(from_hz, to_hz).convert(pcm(tone(0.2, hz=hz, rate_hz=from_hz, peak=20_000))))
    delay_s = 31.5 / from_hz if from_hz <= to_hz else (32 * from_hz / to_hz - 0.5) / from_hz
    times = np.arange(len(heard)) / to_hz - delay_s
    begun = int(0.01 * to_hz)
    expected = 20_000 * np.sin(2 * np.pi * hz * times)
    assert abs(heard - expected)[begun:].max() < 12


@pytest.mark.parametrize(("hz", "alias_hz"), [(8500, 7500), (10_000, 6000), (15_000, 1000), (20_000, 4000)])
def test_what_16_khz_cannot_hold_does_not_fold_back(hz: int, alias_hz: int) -> None:
    """A full-scale tone above half the rate leaves next to nothing at its mirror frequency."""
    heard = samples(Resampler(48_000, 16_000).convert(pcm(tone(0.5, hz=hz, peak=32_000))))[200:]
    assert level_db(heard, alias_hz, 16_000) < -75


def test_full_scale_is_clipped_and_never_wraps() -> None:
    """The overshoot of a square wave stays on its side of zero."""
    square = np.where(np.arange(4800) // 40 % 2, 32767, -32768).astype("<i2").tobytes()
    heard = samples(Resampler(48_000, 16_000).convert(square))[100:]
    assert set(np.abs(heard) > 30_000) == {True, False}
    assert heard.max() == 32767
    assert heard.min() == -32768


def test_a_rate_that_is_a_mistake_is_refused() -> None:
    """Rates without a small common measure are no rates of sound."""
    with pytest.raises(LocalProtocolError, match="47999 Hz"):
        Resampler(47_999, 48_000)
