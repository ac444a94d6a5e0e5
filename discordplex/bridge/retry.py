"""EngineRetries: when a lost engine is tried again, and when it is given up. Pure: time and chance are parameters."""

from collections.abc import Callable
from dataclasses import dataclass

from discordplex.retry import Backoff


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Limits of one streak of failures, which lasts until one opening has given `healthy_s` of audio."""

    first_s: float = 1
    longest_s: float = 15
    """Waits after the failures of a streak, doubling from the one to the other."""
    jitter: float = 0.1
    failures: int = 12
    """The engine is given up after this many failures: two minutes with a server that refuses, long enough for a model to load."""
    streak_s: float = 300
    """The engine is given up after a streak of this length too: a server that accepts and stays silent takes a minute for each failure."""
    failures_if_replaceable: int = 2
    """The same where an engine of another kind is free: one more try, for a server that was only restarted or a network that hiccuped."""
    healthy_s: float = 10
    """Received audio that ends a streak. Connecting does not: a server that crashes on our audio accepts every connection."""


class EngineRetries:
    """The tries of one call to get its engine back. `chance` returns numbers from 0 to 1, as `random.random` does."""

    def __init__(self, *, chance: Callable[[], float], rule: RetryRule | None = None) -> None:
        self._rule = rule = rule or RetryRule()
        self._backoff = Backoff(rule.first_s, rule.longest_s, jitter=rule.jitter, chance=chance)
        self._began = 0.0

    def received(self, audio_s: float) -> None:
        """Report how much audio the opening that just ended gave; enough of it ends the streak."""
        if audio_s >= self._rule.healthy_s:
            self._backoff.reset()

    def begin_anew(self) -> None:
        """Another engine is tried from now on."""
        self._backoff.reset()

    @property
    def tried_again(self) -> bool:
        """Whether an engine of another kind may take the place of this one: there was one more try."""
        return self._backoff.failures >= self._rule.failures_if_replaceable

    def failed(self, now: float, *, replaceable: bool = False) -> float | None:
        """Count a failure at `now`; seconds until the next try, None to give up. `replaceable`: an engine of another kind is free."""
        if self._backoff.failures == 0:
            self._began = now
        wait_s = self._backoff.failed()
        most = self._rule.failures_if_replaceable if replaceable else self._rule.failures
        given_up = self._backoff.failures >= most or now - self._began >= self._rule.streak_s
        return None if given_up else wait_s
