"""AudioFormat: every rate, length and byte count of the package is derived here and typed nowhere else."""

from dataclasses import dataclass
from functools import cached_property

SAMPLE_BYTES = 2
"""All PCM is little-endian signed 16 bit."""


@dataclass(frozen=True)
class AudioFormat:
    """PCM int16 of one rate and channel count, cut into frames of `frame_ms`.

    What is derived is kept: several of these are asked for with every frame.
    """

    rate_hz: int
    channels: int
    frame_ms: int = 20

    @cached_property
    def frame_seconds(self) -> float:
        """The length of a frame in seconds."""
        return self.frame_ms / 1000

    @cached_property
    def frame_samples(self) -> int:
        """Samples per channel in a frame."""
        return self.rate_hz * self.frame_ms // 1000

    @cached_property
    def sample_bytes(self) -> int:
        """Bytes of one sample over all channels."""
        return SAMPLE_BYTES * self.channels

    @cached_property
    def frame_bytes(self) -> int:
        """Bytes of one frame over all channels."""
        return self.frame_samples * self.sample_bytes

    @cached_property
    def frames_per_second(self) -> int:
        """Frames in a second."""
        return 1000 // self.frame_ms

    @cached_property
    def silence(self) -> bytes:
        """One frame of digital silence."""
        return bytes(self.frame_bytes)

    def duration_ms(self, pcm_bytes: int) -> float:
        """The duration of `pcm_bytes` bytes of this format."""
        return pcm_bytes / self.sample_bytes / self.rate_hz * 1000

    def bytes_of_ms(self, duration_ms: float) -> int:
        """The bytes of `duration_ms` in this format, rounded down to whole samples."""
        return int(self.rate_hz * duration_ms / 1000) * self.sample_bytes


DISCORD = AudioFormat(rate_hz=48_000, channels=2)
"""The format of Discord's voice, and of py-cord's sinks and sources."""

ENGINE = AudioFormat(rate_hz=48_000, channels=1)
"""The format of the engine interface, in both directions."""

MODEL = AudioFormat(rate_hz=24_000, channels=1)
"""The format inside the codec of a model of the Moshi family."""

MODEL_STEP_MS = 80
"""A model of the Moshi family makes one step for each 80 ms of input (12.5 Hz), and outputs 80 ms."""
