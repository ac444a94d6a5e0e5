"""When a lost engine is tried again, and when not any more. Pure: time and chance come from outside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How patient a call is. One streak of failures lasts until `healthy_s` of audio were received from one opening."""

    delays_s: Sequence[float] = (1, 2, 4, 8, 15)
    """Waits after the first, second, ... failure of a streak; the last one repeats."""
    jitter: float = 0.1
    """Each wait is longer by a random share of up to this much, so that many calls do not knock at once."""
    failures: int = 12
    """So many failures in one streak and the engine is given up: two minutes at a server that refuses, time for a model to load."""
    streak_s: float = 300
    """A streak of this length is given up too: a server that accepts and stays silent takes a minute for each failure."""
    healthy_s: float = 10
    """Received audio that ends a streak. Connecting does not: a server that crashes on our audio connects well every time."""


class Retry:
    """The back-off of one call. `chance` gives numbers from 0 to 1, such as `random.random`."""

    def __init__(self, *, chance: Callable[[], float], rule: RetryRule | None = None) -> None:
        self._rule = rule or RetryRule()
        self._chance = chance
        self._failures = 0
        self._began = 0.0

    def received(self, audio_s: float) -> None:
        """Say how much audio the opening that just ended gave; enough of it forgives what was before."""
        if audio_s >= self._rule.healthy_s:
            self._failures = 0

    def failed(self, now: float) -> float | None:
        """Count a failure at `now`; seconds until the next try, None to give up."""
        if self._failures == 0:
            self._began = now
        self._failures += 1
        if self._failures >= self._rule.failures or now - self._began >= self._rule.streak_s:
            return None
        delay_s = self._rule.delays_s[min(self._failures, len(self._rule.delays_s)) - 1]
        return delay_s * (1 + self._rule.jitter * self._chance())
