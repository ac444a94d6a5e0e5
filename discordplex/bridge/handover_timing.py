"""HandoverTiming: when a call goes on in its engine's next conversation. Pure: times are parameters."""

import enum
from dataclasses import dataclass

from discordplex.retry import Backoff

OPENINGS = 1.5
"""The next conversation gets this many times as long to open as the live one took: it is told more."""


@dataclass(frozen=True, slots=True)
class HandoverRule:
    """The limits of a hand-over."""

    summary_share: float = 0.6
    """How much of the memory is used when a summary of the call is asked for."""
    prepare_share: float = 0.75
    """How much of the memory is used when the next conversation is prepared: with PersonaPlex a minute before its end, for a handshake of
    4 to 9 s and half a minute in which somebody stops speaking. Earlier, down to `least_share`, where the last one took long to open."""
    least_share: float = 0.25
    pause_s: float = 0.4
    """The pause of everybody in which the next conversation takes over. Pauses between words are shorter."""
    patience_s: float = 30.0
    """How long it waits for one; then it takes over in the middle of a word."""
    least_patience_s: float = 2.0
    """The same where the memory is at its end already."""
    long_pause_s: float = 3.0
    """The pause in which a conversation is renewed in place, when nobody is heard for as long as the engine takes to open."""
    tries: int = 4
    """How often the next conversation of one that is live may fail; then that one is renewed in place."""
    first_retry_s: float = 2.0
    longest_retry_s: float = 30.0
    longest_opening_s: float = 15.0
    """How long the next conversation may take to open after the end of the memory, or longer where the live one took long, too."""


class NextStep(enum.Enum):
    """What a hand-over needs now."""

    WAIT = "wait"
    PREPARE = "prepare"
    TAKE_OVER = "take over"
    CROSSFADE = "crossfade"
    RENEW = "renew"


class HandoverTiming:
    """When to hand over from one conversation, which has listened since `began` and remembers for `memory_s`. Pure."""

    def __init__(self, rule: HandoverRule, memory_s: float | None, began: float, opening_s: float = 0.0) -> None:
        """`opening_s` is how long it took to open."""
        lasts_s = float("inf") if memory_s is None else memory_s
        self.summary_at = began + rule.summary_share * lasts_s
        self.due_at = began + max(rule.least_share * lasts_s, min(rule.prepare_share * lasts_s, lasts_s - OPENINGS * opening_s))
        """From when on the others have to be asked."""
        self._rule = rule
        self._renew_at = began + rule.prepare_share * lasts_s
        self._ends_at = began + lasts_s
        self._overdue_at = began + lasts_s + rule.patience_s
        self._longest_opening_s = max(rule.longest_opening_s, OPENINGS * opening_s)
        self._backoff = Backoff(rule.first_retry_s, rule.longest_retry_s)
        self._retry_at = float("-inf")

    def failed(self, now: float) -> None:
        """The next conversation could not be opened, or was lost before it took over."""
        self._retry_at = now + self._backoff.failed()

    def is_late(self, now: float, began: float) -> bool:
        """Whether the next conversation, which has been opened since `began`, is not waited for any longer."""
        return now >= self._overdue_at and now - began >= self._longest_opening_s

    def without_next(self, now: float, pause_s: float, *, has_spare: bool) -> NextStep:
        """While nothing is prepared: everybody has been silent for `pause_s`."""
        if now < self.due_at:
            return NextStep.WAIT
        if has_spare and self._backoff.failures < self._rule.tries and now < self._overdue_at:
            return NextStep.PREPARE if now >= self._retry_at else NextStep.WAIT
        if now < self._renew_at:
            return NextStep.WAIT
        needed_s = self._rule.long_pause_s if now < self._ends_at else self._rule.pause_s
        return NextStep.RENEW if pause_s >= needed_s or now >= self._overdue_at else NextStep.WAIT

    def with_next(self, now: float, pause_s: float, *, ready_at: float, takes_turns: bool) -> NextStep:
        """While the next conversation has been ready since `ready_at`. A live one that takes turns may be thinking while all are silent."""
        may_think = takes_turns and now < ready_at + self._rule.patience_s
        if pause_s >= (self._rule.long_pause_s if may_think else self._rule.pause_s):
            return NextStep.TAKE_OVER
        latest = min(ready_at + self._rule.patience_s, max(self._ends_at, ready_at + self._rule.least_patience_s))
        return NextStep.CROSSFADE if now >= latest and not takes_turns else NextStep.WAIT
