"""Whose turn it is, for a model that takes turns: what people's sound means while the engine speaks, and who spoke when. Pure.

A server's detector stops a reply at the first sound of anybody. Here a cough costs a reply nothing but a short pause: playback is held at
the first 80 ms of sound, goes on after a short one, and is cut off by a longer one that the server takes for speech as well.
"""

from collections import deque
from enum import Enum
from typing import Final

from discordplex.audio.format import ENGINE
from discordplex.bounded import drop_oldest
from discordplex.engine import SpeakerId

HOLD_MS: Final = 80
"""Sound over the engine's that holds playback: longer than a click."""
CUT_MS: Final = 400
"""Sound over the engine's that cuts it off: longer than a cough or an "mm-hm"."""
DOUBT_MS: Final = 800
"""Sound that the server does not take for speech for so long is noise: playback goes on."""
PAUSE_MS: Final = 300
"""Quiet that ends somebody's speech: longer than the pause between two words."""

MOST_SPANS: Final = 4000
"""Changes of who speaks that are remembered; more than an hour of talk has."""
CLEARLY: Final = 0.8
"""Whose words they are: who spoke in this part of the time in which anybody did."""


class Floor(Enum):
    """What to do with the engine's voice now."""

    HOLD = "hold"
    RESUME = "resume"
    CUT = "cut"


class FloorWatch:
    """Decides once a tick whether people interrupt the engine."""

    def __init__(self) -> None:
        self.voiced_ms = 0
        """Sound in the speech that goes on."""
        self._quiet_ms = PAUSE_MS
        self.has_cut = False
        """The speech that goes on has cut the engine off."""
        self.over_reply = False
        """The speech that goes on began while the engine was heard."""
        self._held = self._settled = False

    @property
    def speaking(self) -> bool:
        """Whether somebody speaks, or has paused for less than `PAUSE_MS`."""
        return self._quiet_ms < PAUSE_MS

    def tick(self, *, loud: bool, sounding: bool, server_hears: bool) -> Floor | None:
        """20 ms more. `loud`: somebody is heard; `sounding`: the engine is, or would be if it were not held."""
        if not loud:
            return self._tick_quiet()
        if not self.speaking:
            self.voiced_ms, self.over_reply = 0, sounding
            self.has_cut = self._settled = False
        self._quiet_ms = 0
        self.voiced_ms += ENGINE.frame_ms
        if sounding and not self.has_cut and self.voiced_ms >= CUT_MS and server_hears:
            self._held, self.has_cut = False, True
            return Floor.CUT
        if self._held and self.voiced_ms >= DOUBT_MS:
            self._held, self._settled = False, True
            return Floor.RESUME
        if sounding and not (self._held or self._settled or self.has_cut) and self.voiced_ms >= HOLD_MS:
            self._held = True
            return Floor.HOLD
        return None

    def release(self) -> bool:
        """Whether playback was held, and is not any more."""
        held, self._held = self._held, False
        return held

    def _tick_quiet(self) -> Floor | None:
        self._quiet_ms = min(PAUSE_MS, self._quiet_ms + ENGINE.frame_ms)
        return Floor.RESUME if not self.speaking and self.release() else None


class SpokenTimes:
    """Who was loud when, on the clock of the sound that one session got."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self._spans: deque[tuple[float, float, frozenset[SpeakerId]]] = deque(maxlen=MOST_SPANS)
        self._last_ms: dict[SpeakerId, float] = {}
        """When each was last loud."""

    def add(self, milliseconds: float, loud: frozenset[SpeakerId]) -> None:
        """More sound was sent, in which these people were loud."""
        begin, self.now_ms = self.now_ms, self.now_ms + milliseconds
        if not loud:
            return
        self._last_ms.update(dict.fromkeys(loud, self.now_ms))
        drop_oldest(self._last_ms, MOST_SPANS)
        if self._spans and self._spans[-1][1:] == (begin, loud):
            begin = self._spans.pop()[0]
        self._spans.append((begin, self.now_ms, loud))

    def is_loud_since(self, speaker: SpeakerId, begin_ms: float) -> bool:
        """Whether this person was loud after that."""
        return self._last_ms.get(speaker, 0.0) > begin_ms

    def speakers(self, begin_ms: float, end_ms: float) -> frozenset[SpeakerId]:
        """Everybody who was loud between the two."""
        return frozenset(self._lengths(begin_ms, end_ms)[0])

    def speaker(self, begin_ms: float, end_ms: float) -> SpeakerId | None:
        """Who clearly spoke between the two; None where nobody did, or several."""
        lengths, total_ms = self._lengths(begin_ms, end_ms)
        most = max(lengths, key=lambda one: lengths[one], default=None)
        return most if most is not None and lengths[most] >= CLEARLY * total_ms else None

    def voiced_ms(self, begin_ms: float, end_ms: float) -> float:
        """For how long anybody was loud between the two."""
        return self._lengths(begin_ms, end_ms)[1]

    def _lengths(self, begin_ms: float, end_ms: float) -> tuple[dict[SpeakerId, float], float]:
        """For how many milliseconds each was loud, and for how many anybody was."""
        found: dict[SpeakerId, float] = {}
        total_ms = 0.0
        for begin, end, loud in reversed(self._spans):
            if end <= begin_ms:
                break
            length_ms = min(end, end_ms) - max(begin, begin_ms)
            if length_ms > 0:
                total_ms += length_ms
                for one in loud:
                    found[one] = found.get(one, 0.0) + length_ms
        return found, total_ms
