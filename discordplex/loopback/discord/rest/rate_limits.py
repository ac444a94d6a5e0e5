"""RateLimiter: Discord's rate limits: a number of calls in a window that the first of them opens. Pure."""

from dataclasses import dataclass
from typing import Any

from discordplex.clock import Clock


@dataclass(frozen=True, slots=True)
class BucketLimit:
    """A number of calls in a number of seconds."""

    calls: int
    per_s: float


WRITES = BucketLimit(5, 5.0)
"""Creating and editing messages in one channel (observed, and Discord's note of 2016); clients have to read the headers."""

COMMON = BucketLimit(50, 1.0)
"""Everything else; the global limit is 50 per second (documented)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call is allowed, and what the headers say about the next one."""

    allowed: bool
    limit: BucketLimit
    remaining: int
    reset_after_s: float
    bucket: str

    def headers(self, unix_now_s: float) -> dict[str, str]:
        """The documented headers; Retry-After and `Via` (without which py-cord takes a 429 for a ban) where it was refused."""
        found = {
            "X-RateLimit-Limit": str(self.limit.calls),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": f"{unix_now_s + self.reset_after_s:.3f}",
            "X-RateLimit-Reset-After": f"{self.reset_after_s:.3f}",
            "X-RateLimit-Bucket": self.bucket,
            "Via": "1.1 google",
        }
        refused = {"Retry-After": f"{self.reset_after_s:.3f}", "X-RateLimit-Scope": "user"}
        return found if self.allowed else found | refused

    def body(self) -> dict[str, Any]:
        """The body of a 429."""
        return {"message": "You are being rate limited.", "retry_after": round(self.reset_after_s, 3), "global": False}


class RateLimiter:
    """Counts calls per key in windows of the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, ...], tuple[float, int]] = {}

    def take(self, key: tuple[str, ...], limit: BucketLimit, bucket: str) -> Verdict:
        """Count one call of `key`, unless its window is used up. A refused call is not counted."""
        now = self._clock.now()
        start, used = self._windows.get(key, (now, 0))
        if now >= start + limit.per_s:
            start, used = now, 0
        allowed = used < limit.calls
        self._windows[key] = (start, used + allowed)
        return Verdict(allowed, limit, max(0, limit.calls - used - 1), max(0.001, start + limit.per_s - now), bucket)
