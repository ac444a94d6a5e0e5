"""TokenBucket: a limit on how much is done per time, such as what a peer may make us do. Pure: the time is a parameter."""


class TokenBucket:
    """Holds `burst` and is refilled by `per_second`.

    Ask before the work is done or the memory is used. What does not fit is refused entirely and takes nothing.
    """

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._filled_at: float | None = None

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` at `now` (seconds of any clock that goes forward); returns whether there was enough."""
        if self._filled_at is not None:
            self._left = min(self._burst, self._left + self._per_second * max(0.0, now - self._filled_at))
        self._filled_at = now
        if amount > self._left:
            return False
        self._left -= amount
        return True
