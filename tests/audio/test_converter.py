"""Rates and channels change, the sound does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from discordplex.audio.converter import SCALE_BITS, SIDE, Downsampler, Upsampler, downmix, upmix
from tests.audio.signals import level_db, noise, pcm, samples, snr_db, stereo, tone

DELAY_48K = 79
"""Half of the filter, at 48 kHz."""

int16_arrays = arrays(np.int16, st.integers(0, 3000), elements=st.integers(-32768, 32767))
cuts = st.lists(st.integers(0, 1500), max_size=8)


def pieces(data: bytes, lengths: list[int]) -> list[bytes]:
    bounds = np.minimum(np.cumsum([0, *lengths]), len(data)).tolist()
    return [data[start:end] for start, end in zip(bounds, [*bounds[1:], len(data)], strict=True)]


@given(int16_arrays, cuts, st.sampled_from([1, 2]))
def test_down_in_pieces_is_down_whole(signal_in: "np.typing.NDArray[np.int16]", lengths: list[int], channels: int) -> None:
    """However the bytes are cut, even within a sample, the result is the same to the last bit."""
    data = signal_in.tobytes()
    converter = Downsampler(channels)
    assert b"".join(map(converter.convert, pieces(data, lengths))) == Downsampler(channels).convert(data)


@given(int16_arrays, cuts, st.sampled_from([1, 2]))
def test_up_in_pieces_is_up_whole(signal_in: "np.typing.NDArray[np.int16]", lengths: list[int], channels: int) -> None:
    """However the bytes are cut, even within a sample, the result is the same to the last bit."""
    data = signal_in.tobytes()
    converter = Upsampler(channels)
    whole = Upsampler(channels).convert(data)
    assert b"".join(map(converter.convert, pieces(data, lengths))) == whole
    assert len(whole) == 2 * len(data) * channels


@given(int16_arrays)
def test_nothing_wraps(signal_in: "np.typing.NDArray[np.int16]") -> None:
    """What overshoots full scale is clipped: no sample of the filter's exact answer comes back with another sign."""
    loud = np.where(signal_in >= 0, 32767, -32768).astype(np.int16)
    up = samples(Upsampler(1).convert(loud.tobytes()))
    spread = np.zeros(2 * len(loud) + 1)
    spread[:-1:2] = loud
    exact = 2 * np.convolve(spread, whole_filter())[: len(up)]
    assert abs(up - exact.clip(-32768, 32767)).max(initial=0) <= 0.51
    down = samples(Downsampler(1).convert(loud.tobytes()))
    exact = np.convolve(loud.astype(float), whole_filter())[: len(loud)][::2][: len(down)] if len(loud) else down
    assert abs(down - exact.clip(-32768, 32767)).max(initial=0) <= 0.51


def whole_filter() -> "np.typing.NDArray[np.float64]":
    """The 159 taps, from the half that is kept."""
    side = [tap for value in SIDE for tap in (value, 0)][:-1]
    return np.array([*reversed(side), 1 << (SCALE_BITS - 1), *side]) / (1 << SCALE_BITS)


def test_the_taps_are_the_designed_ones() -> None:
    """The numbers in the code are scipy's design, rounded."""
    from scipy import signal  # noqa: PLC0415 - a second, which every worker would spend otherwise

    designed = signal.firwin(159, 0.5, window=("kaiser", 10))
    assert abs(whole_filter() - designed).max() < 2**-21


@pytest.mark.parametrize(
    ("hz", "alias_hz", "most_db"), [(13_000, 11_000, -96), (14_000, 10_000, -98), (16_000, 8000, -98), (20_000, 4000, -98)]
)
def test_what_24_khz_cannot_hold_does_not_fold_back(hz: int, alias_hz: int, most_db: int) -> None:
    """A full-scale tone above 12 kHz leaves less than an int16's last bit at its mirror frequency."""
    heard = samples(Downsampler(1).convert(pcm(tone(0.5, hz=hz, peak=32_000))))[200:]
    assert level_db(heard, alias_hz, 24_000) < most_db


@pytest.mark.parametrize(("hz", "image_hz", "most_db"), [(11_000, 13_000, -94), (9000, 15_000, -96), (3000, 21_000, -96)])
def test_what_24_khz_held_is_not_mirrored_up(hz: int, image_hz: int, most_db: int) -> None:
    """A full-scale tone has no image above 12 kHz."""
    heard = samples(Upsampler(1).convert(pcm(tone(0.5, hz=hz, rate_hz=24_000, peak=32_000))))[400:]
    assert level_db(heard, image_hz, 48_000) < most_db


def test_down_keeps_speech() -> None:
    """Noise below 9 kHz is the ideal 24 kHz signal, to 80 dB, 1.65 ms later."""
    wide = noise(0.5, below_hz=9000)
    heard = samples(Downsampler(2).convert(stereo(wide)))
    assert snr_db(wide[400 - DELAY_48K : -DELAY_48K : 2], heard[200:]) > 80


def test_up_keeps_speech() -> None:
    """Noise below 9 kHz at 24 kHz is the same noise at 48 kHz, to an int16's precision, 1.65 ms later."""
    wide = noise(0.5, below_hz=9000)
    heard = samples(Upsampler(2).convert(pcm(wide[::2])), 1, 2)
    assert snr_db(wide[400 - DELAY_48K : -DELAY_48K], heard[400:]) > 78


def test_mean_of_both_channels() -> None:
    """Downsampling averages the channels."""
    left, right = tone(0.2, hz=500), tone(0.2, hz=900)
    both = samples(Downsampler(2).convert(stereo(left, right)))
    apart = samples(Downsampler(1).convert(pcm((left + right) / 2)))
    assert abs(both - apart).max() <= 1


def test_downmix_is_the_mean() -> None:
    """Two different channels meet halfway."""
    left, right = tone(0.02, hz=500), tone(0.02, hz=900)
    assert abs(samples(downmix(stereo(left, right))) - (left + right) / 2).max() <= 1


@pytest.mark.parametrize("gain", [1.0, 0.9])
def test_downmix_keeps_inverted_channels(gain: float) -> None:
    """Where the right is the left upside down, the mean would be silence: the left is heard."""
    left = tone(0.02)
    assert downmix(stereo(left, -gain * left)) == pcm(left)


@given(arrays(np.int16, st.integers(0, 960).map(lambda n: 2 * n), elements=st.integers(-32768, 32767)))
def test_downmix_never_wraps(both: "np.typing.NDArray[np.int16]") -> None:
    """Every mixed sample lies between its left and its right, whatever their levels."""
    mono = samples(downmix(both.tobytes()))
    pairs = both.reshape(-1, 2)
    assert len(mono) == len(pairs)
    assert (mono >= pairs.min(axis=1, initial=32767)).all()
    assert (mono <= pairs.max(axis=1, initial=-32768)).all()


@given(st.binary(max_size=400).filter(lambda data: len(data) % 2 == 0))
def test_upmix_and_back(mono: bytes) -> None:
    """What was upmixed downmixes to itself."""
    assert len(upmix(mono)) == 2 * len(mono)
    assert downmix(upmix(mono)) == mono
