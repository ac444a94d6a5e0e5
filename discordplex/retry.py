"""How long to wait before something that failed is tried again: the package's one back-off. Pure: time and chance come from outside."""

from collections.abc import Callable


class Backoff:
    """The waits in a streak of failures: `first_s`, then twice as long each time, never longer than `longest_s`.

    Each wait is longer by a random share of up to `jitter`, so that many callers do not try at the same moment; `chance` gives numbers from
    0 to 1, as `random.random` does, and is needed where `jitter` is not 0.
    """

    __slots__ = ("_chance", "_first_s", "_jitter", "_longest_s", "failures")

    def __init__(self, first_s: float, longest_s: float, *, jitter: float = 0.0, chance: Callable[[], float] = float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._chance = chance
        self.failures = 0
        """How many there were since the start or the last `reset`."""

    def failed(self) -> float:
        """Count a failure; seconds to wait before the next try."""
        wait_s = min(self._longest_s, self._first_s * 2.0 ** min(self.failures, MOST_DOUBLINGS))
        self.failures += 1
        return wait_s * (1 + self._jitter * self._chance())

    def reset(self) -> None:
        """It worked: the next failure is a first one."""
        self.failures = 0


MOST_DOUBLINGS = 64
"""Far beyond every `longest_s`; a float cannot be doubled for ever."""
