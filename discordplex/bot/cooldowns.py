"""Cooldowns: how often each of many people and guilds may do something. Pure: the time is a parameter."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

MOST = 4096
"""Keys that are remembered. Beyond that the least recently used one is forgotten, and may do everything again."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and one more after each interval."""

    burst: int
    interval_s: float


class Cooldowns:
    """For each key one rate, and how much of it is used up. A key that has used nothing takes no memory."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._used_until: OrderedDict[Hashable, float] = OrderedDict()
        """When a key may use its whole burst again."""

    def __len__(self) -> int:
        return len(self._used_until)

    def wait_s(self, key: Hashable, rate: Rate, now: float) -> float:
        """Seconds until the key may do it again; 0 where it may now."""
        return max(0.0, self._used_until.get(key, now) - now - (rate.burst - 1) * rate.interval_s)

    def use(self, key: Hashable, rate: Rate, now: float) -> None:
        """Count one use of the key, whether or not it was allowed."""
        self._used_until[key] = max(now, self._used_until.get(key, now)) + rate.interval_s
        self._used_until.move_to_end(key)
        while self._used_until and (len(self._used_until) > self._most or next(iter(self._used_until.values())) <= now):
            self._used_until.popitem(last=False)
