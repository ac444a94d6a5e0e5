"""PCM as numbers."""

from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.samples import PROBED, energy_reaches, peak_of, peak_reaches, rms_of


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=50))
def test_the_peak_is_the_largest_magnitude(levels: list[int]) -> None:
    """Either side of zero counts, the lowest sample included, whose magnitude int16 does not have."""
    assert peak_of(b"".join(level.to_bytes(2, "little", signed=True) for level in levels)) == max(map(abs, levels))


def test_nothing_has_no_peak() -> None:
    """No sample at all, and silence, have a peak of 0."""
    assert peak_of(b"") == peak_of(bytes(100)) == 0


@given(st.integers(0, 2 * PROBED), st.integers(-32_768, 32_767), st.integers(1, 32_769))
def test_one_sample_anywhere_decides(place: int, level: int, limit: int) -> None:
    """Whether a peak or an energy is reached does not depend on which samples are looked at first."""
    pcm = bytes(2 * place) + level.to_bytes(2, "little", signed=True) + bytes(4 * PROBED)
    assert peak_reaches(pcm, limit) is (peak_of(pcm) >= limit)
    assert energy_reaches(pcm, 0.999 * level**2 + 1e-9) is (level != 0)
    assert not energy_reaches(pcm, 1.001 * level**2 + 1e-9)


def test_many_samples_reach_what_none_does() -> None:
    """Energies add up, over the samples that are looked at first and over the others."""
    pcm = b"\x0a\x00" * 960
    assert [energy_reaches(pcm, 100 * count) for count in (1, 20, 960, 961)] == [True, True, True, False]
    assert not energy_reaches(b"", 1)


def test_the_root_mean_square_is_relative_to_full_scale() -> None:
    """A constant quarter of full scale is 0.25, silence and nothing are 0."""
    assert rms_of(b"\x00\x20" * 960) == 0.25
    assert rms_of(bytes(1920)) == rms_of(b"") == 0.0
