"""SpeechGate: is this speech? By level with hysteresis, and by whether packets come at all."""

import math
from typing import Final

from discordplex.audio.format import ENGINE
from discordplex.audio.samples import rms_of

FLOOR_DBFS: Final = -100.0
"""The level of digital silence."""


def level_dbfs(pcm: bytes) -> float:
    """The root mean square of PCM, in dB of full scale; at least `FLOOR_DBFS`."""
    rms = rms_of(pcm)
    return max(FLOOR_DBFS, 20 * math.log10(rms)) if rms else FLOOR_DBFS


OPEN_DBFS: Final = -45.0
CLOSE_DBFS: Final = -52.0

ATTACK_TICKS: Final = 40 // ENGINE.frame_ms
"""How long the level must last to open the gate. A click is shorter."""

HOLD_TICKS: Final = 300 // ENGINE.frame_ms
"""How long it must be quiet to close the gate. Pauses between words are shorter."""


class SpeechGate:
    """The gate of one speaker, updated once per tick. It opens on a level that lasts, and closes after a time of low level or no packets.

    Discord's clients send packets only while they hear something, so a tick without a packet counts as silence.
    """

    def __init__(self) -> None:
        self._against = 0
        self._is_open = False
        self._is_loud = False
        self.level_dbfs = FLOOR_DBFS
        """The level of the frame of the last `update`."""

    @property
    def is_open(self) -> bool:
        """Whether the speaker is speaking."""
        return self._is_open

    @property
    def lets_pass(self) -> bool:
        """Whether the frame of the last `update` may be speech: the gate is open, or this frame is loud enough to open it."""
        return self._is_open or self._is_loud

    def update(self, frame: bytes | None) -> bool:
        """One tick, with the speaker's frame or None; returns whether they are speaking."""
        level = FLOOR_DBFS if frame is None else level_dbfs(frame)
        self.level_dbfs = level
        self._is_loud = level > OPEN_DBFS
        speaks = level > (CLOSE_DBFS if self._is_open else OPEN_DBFS)
        self._against = 0 if speaks == self._is_open else self._against + 1
        if self._against >= (HOLD_TICKS if self._is_open else ATTACK_TICKS):
            self._is_open = not self._is_open
            self._against = 0
        return self._is_open
