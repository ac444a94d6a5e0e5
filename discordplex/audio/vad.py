"""SpeechGate: is this speech? By level with hysteresis, and by whether packets come at all."""

import math
from typing import Final

from discordplex.audio.format import ENGINE
from discordplex.audio.samples import FULL_SCALE, energy_reaches, rms_of

FLOOR_DBFS: Final = -100.0
"""The level of digital silence."""


def level_dbfs(pcm: bytes) -> float:
    """The root mean square of PCM, in dB of full scale; at least `FLOOR_DBFS`."""
    rms = rms_of(pcm)
    return max(FLOOR_DBFS, 20 * math.log10(rms)) if rms else FLOOR_DBFS


def exceeds(pcm: bytes, dbfs: float) -> bool:
    """Whether `level_dbfs(pcm)` is above `dbfs`. Measured: 1 us for speech, 4 us for quiet sound, and less of the caches."""
    return energy_reaches(pcm, max(1, len(pcm) // ENGINE.sample_bytes) * FULL_SCALE**2 * 10 ** (dbfs / 10))


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
        self._speaks = False
        self._frame: bytes | None = None

    @property
    def level_dbfs(self) -> float:
        """The level of the frame of the last `update`."""
        return FLOOR_DBFS if self._frame is None else level_dbfs(self._frame)

    @property
    def is_open(self) -> bool:
        """Whether the speaker is speaking."""
        return self._is_open

    @property
    def lets_pass(self) -> bool:
        """Whether the frame of the last `update` may be speech: the gate is open, or this frame is loud enough to open it."""
        return self._is_open or self._speaks

    def update(self, frame: bytes | None) -> bool:
        """One tick, with the speaker's frame or None; returns whether they are speaking."""
        self._frame = frame
        self._speaks = speaks = frame is not None and exceeds(frame, CLOSE_DBFS if self._is_open else OPEN_DBFS)
        self._against = 0 if speaks == self._is_open else self._against + 1
        if self._against >= (HOLD_TICKS if self._is_open else ATTACK_TICKS):
            self._is_open = not self._is_open
            self._against = 0
        return self._is_open
