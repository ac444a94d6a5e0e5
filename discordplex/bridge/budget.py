"""EventBudget: limits of what any engine may send into a call. Pure: the time is a parameter.

An engine limits what its server sends, before it is decoded. This is the second limit, at the port: an engine without limits, or with wrong
ones, still cannot fill the memory or the channel.
"""

from discordplex.engine import OVER_BUDGET, Closed, EngineEvent, Problem, Text
from discordplex.token_bucket import TokenBucket

REPLY_BURST_S = 180.0
"""Most sound at once of an engine that sends whole replies: as much as the playout keeps. The beginning of a longer reply would be lost
anyway."""

STREAM_BURST_S = 60.0
"""The same for an engine that sends in real time: what piles up while a network stalls, with a margin."""

EVENT_CHARACTERS = 64
"""The name of a reply (`item`) is free up to this length, and counts as text beyond it."""

MESSAGE_CHARACTERS = 50
"""What a new message for people counts in addition to its words: a problem, or the text of another party or another reply."""


class EventBudget:
    """The limits of one engine, from its first event on."""

    def __init__(self, *, paced: bool) -> None:
        """`paced`: the engine sends in real time (`EngineCaps.realtime_paced`); otherwise whole replies come at once."""
        self._sound_s = TokenBucket(per_second=2, burst=STREAM_BURST_S) if paced else TokenBucket(per_second=4, burst=REPLY_BURST_S)
        self._characters = TokenBucket(per_second=200, burst=20_000)
        self._events = TokenBucket(per_second=200, burst=2000)
        self._told: object = None

    def spend(self, event: EngineEvent, sound_s: float, now: float) -> Closed | None:
        """Count one event that carries `sound_s` of sound; returns how the conversation ends where it exceeds a limit."""
        if not self._events.take(1, now):
            return over("events")
        if not self._sound_s.take(sound_s, now):
            return over("sound")
        if not self._characters.take(self._characters_of(event), now):
            return over("text")
        return None

    def _characters_of(self, event: EngineEvent) -> int:
        """How many characters of text an event counts for."""
        if isinstance(event, Problem):
            return len(event.message) + MESSAGE_CHARACTERS
        item = max(0, len(getattr(event, "item", "")) - EVENT_CHARACTERS)
        if not isinstance(event, Text):
            return item
        before, self._told = self._told, (event.role, event.speaker, event.item)
        return item + len(event.text) + (MESSAGE_CHARACTERS if self._told != before else 0)


def over(what: str) -> Closed:
    """The end of a conversation that sent too much `what`."""
    reason = f"The engine sent far more {what} than a call can take, so I closed the connection: check its server, or choose another one."
    return Closed(reason, cause=f"{OVER_BUDGET}: {what}")
