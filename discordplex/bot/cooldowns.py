"""Cooldowns: limits how often each person and guild may do something. Pure: the time is a parameter."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

MOST = 4096
"""The most keys that are remembered. After that, the least recently used one is forgotten and starts again."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` uses at once, and one more after each interval."""

    burst: int
    interval_s: float


class Cooldowns:
    """How much of its rate each key has used. A key that has used nothing takes no memory."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._used_until: OrderedDict[Hashable, float] = OrderedDict()
        """When a key may use its whole burst again."""

    def __len__(self) -> int:
        return len(self._used_until)

    def wait_s(self, key: Hashable, rate: Rate, now: float) -> float:
        """Seconds until the next use is allowed; 0 if it is allowed now."""
        return max(0.0, self._used_until.get(key, now) - now - (rate.burst - 1) * rate.interval_s)

    def use(self, key: Hashable, rate: Rate, now: float) -> None:
        """Count one use of the key, whether or not it was allowed."""
        self._used_until[key] = max(now, self._used_until.get(key, now)) + rate.interval_s
        self._used_until.move_to_end(key)
        while self._used_until and (len(self._used_until) > self._most or next(iter(self._used_until.values())) <= now):
            self._used_until.popitem(last=False)
