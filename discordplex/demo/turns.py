"""TurnTracker: who speaks right now, and how long an answer took, frame by frame. Pure."""

from collections import deque
from typing import Literal, TypeAlias

from discordplex.audio.samples import rms_of

Side: TypeAlias = Literal["person", "bot"]

AUDIBLE = 0.006
"""Level (1.0 is full scale) from which a frame is speech: -45 dBFS, as in recording.py."""

HOLD_S = 0.4
"""A voice heard this recently still speaks: no pause between words is longer."""

KEPT_LEVELS = 256


class Voice:
    """One side's voice as it arrives. One thread adds, any thread reads."""

    def __init__(self) -> None:
        self.last_s = float("-inf")
        """Clock time of the newest audible frame."""
        self._levels: deque[tuple[float, float]] = deque(maxlen=KEPT_LEVELS)

    def add(self, loudness: float, at_s: float) -> bool:
        """Take one frame; True where speech begins with it."""
        self._levels.append((at_s, loudness))
        if loudness < AUDIBLE:
            return False
        begins = at_s - self.last_s > HOLD_S
        self.last_s = at_s
        return begins

    def speaks(self, now_s: float) -> bool:
        """Whether it is speaking at that moment."""
        return now_s - self.last_s < HOLD_S

    def levels(self, now_s: float, count: int, step_s: float) -> list[float]:
        """The loudest moment of each of the newest `count` stretches of `step_s`, the oldest first."""
        found = [0.0] * count
        for at_s, loudness in list(self._levels):
            back = int((now_s - at_s) / step_s)
            if 0 <= back < count:
                found[count - 1 - back] = max(found[count - 1 - back], loudness)
        return found


class TurnTracker:
    """Both voices, and the newest latency from the end of the person's speech to the beginning of the bot's."""

    def __init__(self) -> None:
        self.person = Voice()
        self.bot = Voice()
        self.latency_ms: float | None = None

    def heard(self, side: Side, pcm: bytes, at_s: float) -> None:
        """Take one frame of a side. Thread: one per side."""
        if side == "person":
            self.person.add(rms_of(pcm), at_s)
        elif self.bot.add(rms_of(pcm), at_s) and self.person.last_s > float("-inf"):
            self.latency_ms = max(0.0, (at_s - self.person.last_s) * 1000)
