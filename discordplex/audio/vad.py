"""SpeechGate: is this speech. Level with hysteresis, and whether packets come at all."""

import math
from typing import Final

from discordplex.audio.format import ENGINE
from discordplex.audio.samples import rms_of

FLOOR_DBFS: Final = -100.0
"""What digital silence is said to have."""


def level_dbfs(pcm: bytes) -> float:
    """The root mean square of some PCM, in dB of full scale; `FLOOR_DBFS` at least."""
    rms = rms_of(pcm)
    return max(FLOOR_DBFS, 20 * math.log10(rms)) if rms else FLOOR_DBFS


OPEN_DBFS: Final = -45.0
CLOSE_DBFS: Final = -52.0

ATTACK_TICKS: Final = 40 // ENGINE.frame_ms
"""A click is shorter and does not open the gate."""

HOLD_TICKS: Final = 300 // ENGINE.frame_ms
"""The pauses between words are shorter and do not close it."""


class SpeechGate:
    """One speaker's gate, updated once a tick. Opens on a level that lasts, closes when it was low, or no packet came, for a while.

    Discord's clients send packets only while they hear something, so a tick without a packet is as good as silence.
    """

    def __init__(self) -> None:
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
        self._is_loud = level > OPEN_DBFS
        speaks = level > (CLOSE_DBFS if self._is_open else OPEN_DBFS)
        self._against = 0 if speaks == self._is_open else self._against + 1
        if self._against >= (HOLD_TICKS if self._is_open else ATTACK_TICKS):
            self._is_open = not self._is_open
            self._against = 0
        return self._is_open
