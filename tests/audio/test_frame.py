"""Frames are exact, however the bytes arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.format import DISCORD, ENGINE
from discordplex.audio.frame import Frame, Reframer
from discordplex.errors import LocalProtocolError


def test_a_frame_of_another_length_is_a_bug() -> None:
    """A frame that is one sample short cannot be made."""
    with pytest.raises(LocalProtocolError, match="3840"):
        Frame(bytes(DISCORD.frame_bytes - DISCORD.sample_bytes), DISCORD)


def test_a_frame_keeps_its_pcm_and_moment() -> None:
    """What went in comes out."""
    frame = Frame(ENGINE.silence, ENGINE, at=3.5)
    assert (frame.pcm, frame.format, frame.at) == (ENGINE.silence, ENGINE, 3.5)


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
