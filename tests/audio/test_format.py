"""Every length is derived from rate, channels and frame length."""

import pytest

from discordplex.audio.format import DISCORD, ENGINE, MODEL, MODEL_STEP_MS, AudioFormat


def test_discord_frames_have_the_length_that_the_library_expects() -> None:
    """20 ms of 48 kHz stereo int16 are 3840 bytes."""
    assert (DISCORD.frame_samples, DISCORD.sample_bytes, DISCORD.frame_bytes) == (960, 4, 3840)
    assert DISCORD.frames_per_second == 50
    assert DISCORD.frame_seconds == 0.02


def test_engine_frames_are_half_of_discords() -> None:
    """The engine port carries one channel of the same rate."""
    assert ENGINE.frame_bytes * 2 == DISCORD.frame_bytes
    assert ENGINE.frame_samples == DISCORD.frame_samples


def test_a_model_step_is_four_frames() -> None:
    """1920 samples at 24 kHz make a step."""
    assert MODEL.rate_hz * MODEL_STEP_MS // 1000 == 1920
    assert 4 * MODEL.frame_ms == MODEL_STEP_MS


def test_silence_is_one_frame_of_zeros() -> None:
    """Silence has a frame's length and nothing in it."""
    assert DISCORD.silence == bytes(DISCORD.frame_bytes)


@pytest.mark.parametrize("audio_format", [DISCORD, ENGINE, MODEL])
def test_duration_and_bytes_are_inverse(audio_format: AudioFormat) -> None:
    """What lasts 60 ms has the bytes of 60 ms."""
    assert audio_format.duration_ms(audio_format.bytes_of_ms(60)) == 60


def test_bytes_are_rounded_down_to_whole_samples() -> None:
    """A fraction of a sample is no sample, in all channels."""
    assert DISCORD.bytes_of_ms(0.03) == 1 * DISCORD.sample_bytes
