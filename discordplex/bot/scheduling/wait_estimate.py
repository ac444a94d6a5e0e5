"""Estimates how long somebody will wait for an engine. Pure."""

import heapq
from collections import deque
from collections.abc import Iterable, Sequence

from discordplex.bot.texts.waiting import Estimate

FEWEST_CALLS = 3
"""There is no estimate before this many calls have ended."""

MOST_CALLS = 20
"""How many of the newest calls count."""


class Lengths:
    """The lengths of recent calls."""

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        """Those of earlier calls, the newest last."""
        self._seconds: deque[float] = deque(seconds, maxlen=MOST_CALLS)

    def add(self, seconds: float) -> None:
        """A call that heard people has ended after this long."""
        self._seconds.append(seconds)

    def left_s(self, age_s: float) -> float | None:
        """How much longer a call of this age will probably last; None if too little is known.

        It is the mean remaining time of the recent calls that lasted longer than this age. If none did, the call is expected to last twice
        its age.
        """
        if len(self._seconds) < FEWEST_CALLS:
            return None
        left = [seconds - age_s for seconds in self._seconds if seconds > age_s]
        return sum(left) / len(left) if left else age_s


def estimate(number: int, *, ages_s: Sequence[float], lengths: Lengths, box_s: float = 0.0) -> Estimate | None:
    """When an engine will be free for the `number`th in the queue; None if that is unknown.

    `ages_s` are the ages of the running calls. `box_s` is the time limit of calls while others wait; 0 is none.
    """
    whole_s = lengths.left_s(0.0)
    if not ages_s or (whole_s is None and not box_s):
        return None
    ends = [_left_s(age_s, lengths, box_s) for age_s in ages_s]
    next_s = min(known for known in (whole_s, box_s or None) if known is not None)
    heapq.heapify(ends)
    for _ in range(number - 1):
        heapq.heappush(ends, heapq.heappop(ends) + next_s)
    return Estimate(ends[0], at_most=whole_s is None)


def _left_s(age_s: float, lengths: Lengths, box_s: float) -> float:
    usual = lengths.left_s(age_s)
    boxed = max(0.0, box_s - age_s) if box_s else None
    return min(known for known in (usual, boxed) if known is not None)
