"""PCM as numbers."""

from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.samples import peak_of, rms_of


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=50))
def test_the_peak_is_the_largest_magnitude(levels: list[int]) -> None:
    """Either side of zero counts, the lowest sample included, whose magnitude int16 does not have."""
    assert peak_of(b"".join(level.to_bytes(2, "little", signed=True) for level in levels)) == max(map(abs, levels))


def test_nothing_has_no_peak() -> None:
    """No sample at all, and silence, have a peak of 0."""
    assert peak_of(b"") == peak_of(bytes(100)) == 0


def test_the_root_mean_square_is_relative_to_full_scale() -> None:
    """A constant quarter of full scale is 0.25, silence and nothing are 0."""
    assert rms_of(b"\x00\x20" * 960) == 0.25
    assert rms_of(bytes(1920)) == rms_of(b"") == 0.0
