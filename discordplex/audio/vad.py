"""SpeechGate: is this speech. Level with hysteresis, and whether packets come at all."""

import math
from typing import Final

from discordplex.audio.format import ENGINE
from discordplex.audio.samples import FULL_SCALE, int16_of

FLOOR_DBFS: Final = -100.0
"""What digital silence is said to have."""


def level_dbfs(pcm: bytes) -> float:
    """The root mean square of some PCM, in dB of full scale; `FLOOR_DBFS` at least. Measured: 6 us for a frame."""
    if not pcm:
        return FLOOR_DBFS
    samples = int16_of(pcm).astype("f4")
    power = float(samples @ samples) / len(samples) / FULL_SCALE**2
    return max(FLOOR_DBFS, 10 * math.log10(power)) if power else FLOOR_DBFS


class SpeechGate:
    """One speaker's gate, updated once a tick. Opens on a level that lasts, closes when it was low, or no packet came, for a while.

    Discord's clients send packets only while they hear something, so a tick without a packet is as good as silence.
    """

    def __init__(self, *, open_dbfs: float = -45.0, close_dbfs: float = -52.0, attack_ms: int = 40, hold_ms: int = 300) -> None:
        """`attack_ms` keeps a click from opening it; `hold_ms` keeps it open between words."""
        self._open_dbfs = open_dbfs
        self._close_dbfs = close_dbfs
        self._attack_ticks = max(1, attack_ms // ENGINE.frame_ms)
        self._hold_ticks = max(1, hold_ms // ENGINE.frame_ms)
        self._against = 0
        self._is_open = False
        self._is_loud = False

    @property
    def is_open(self) -> bool:
        """Whether the speaker is speaking."""
        return self._is_open

    @property
    def lets_pass(self) -> bool:
        """Whether the frame of the last `update` may be speech: the gate is open, or this frame alone is loud enough to open it."""
        return self._is_open or self._is_loud

    def update(self, frame: bytes | None) -> bool:
        """One tick: the speaker's frame, or None where there was none. Whether they are speaking."""
        level = FLOOR_DBFS if frame is None else level_dbfs(frame)
        self._is_loud = level > self._open_dbfs
        speaks = level > (self._close_dbfs if self._is_open else self._open_dbfs)
        self._against = 0 if speaks == self._is_open else self._against + 1
        if self._against >= (self._hold_ticks if self._is_open else self._attack_ticks):
            self._is_open = not self._is_open
            self._against = 0
        return self._is_open
