"""Allowance: how much a peer may make us do. Pure: the time comes from outside."""


class Allowance:
    """So much per second, and so much at once: a bucket that holds `burst` and is refilled by `per_second`.

    It is asked before the work is done or the memory is made. What does not fit is refused whole and takes nothing.
    """

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._filled_at: float | None = None

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` at `now` (seconds of any clock that goes forward); whether there was so much."""
        if self._filled_at is not None:
            self._left = min(self._burst, self._left + self._per_second * max(0.0, now - self._filled_at))
        self._filled_at = now
        if amount > self._left:
            return False
        self._left -= amount
        return True
