"""Frames are exact, however the bytes arrive."""

from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.format import ENGINE
from discordplex.audio.frame import Reframer


@given(st.lists(st.binary(max_size=9000), max_size=12))
def test_no_byte_is_lost_or_moved(batches: list[bytes]) -> None:
    """Whatever the batches, the frames and what is pending spell the input."""
    reframer = Reframer(ENGINE)
    frames = [frame for batch in batches for frame in reframer.push(batch)]
    assert {len(frame) for frame in frames} <= {ENGINE.frame_bytes}
    whole = b"".join(batches)
    assert whole.startswith(b"".join(frames))
    assert reframer.pending_bytes == len(whole) - len(frames) * ENGINE.frame_bytes < ENGINE.frame_bytes


def test_whole_frames_pass_as_they_are() -> None:
    """A batch of exactly one frame comes out at once."""
    frame = bytes(range(256)) * (ENGINE.frame_bytes // 256) + bytes(ENGINE.frame_bytes % 256)
    assert list(Reframer(ENGINE).push(frame)) == [frame]


def test_clear_forgets_what_is_pending() -> None:
    """After clear, the next frame holds only what came after it."""
    reframer = Reframer(ENGINE)
    list(reframer.push(b"\x01" * 100))
    reframer.clear()
    assert list(reframer.push(ENGINE.silence)) == [ENGINE.silence]
