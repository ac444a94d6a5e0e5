"""Playback: how much people have heard, estimated from when sound was handed over. Pure."""

LAG_S = 0.1
"""Playout buffer, send tick and network: for this long after it should have ended, a reply is still heard by somebody."""


class Playback:
    """The position in the sound of one call. Times are `Clock.now`."""

    def __init__(self) -> None:
        self._ends_at = 0.0
        self._left_s: float | None = None

    @property
    def held(self) -> bool:
        """Whether it is held."""
        return self._left_s is not None

    def add(self, milliseconds: float, now: float) -> None:
        """More sound was handed over."""
        if self._left_s is not None:
            self._left_s += milliseconds / 1000
        else:
            self._ends_at = max(now, self._ends_at) + milliseconds / 1000

    def left_s(self, now: float) -> float:
        """How much of what was handed over is not played yet, in seconds."""
        return max(0.0, self._ends_at - now) if self._left_s is None else self._left_s

    def is_sounding(self, now: float) -> bool:
        """Whether people hear something, or would if it were not held."""
        return now < self._ends_at + LAG_S if self._left_s is None else self._left_s > 0

    def hold(self, now: float) -> None:
        """Stop; a second call does nothing."""
        if self._left_s is None:
            self._left_s = self.left_s(now)

    def resume(self, now: float) -> None:
        """Go on where it stopped."""
        if self._left_s is not None:
            self._ends_at, self._left_s = now + self._left_s, None

    def cut(self, now: float) -> None:
        """The rest of the sound was dropped."""
        self._ends_at, self._left_s = now - LAG_S, None
