"""The time limit: which call ends so that others get an engine. Pure: facts in, verdicts out."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

NOTICE_S = 60.0
"""How long before its end a call gets a notice; half of the limit if that is shorter."""


@dataclass(frozen=True, slots=True)
class Running:
    """The state of a call."""

    guild_id: int
    age_s: float
    box_s: float
    """The time limit while others wait; 0 is none."""

    @property
    def notice_s(self) -> float:
        """How long before its end it gets a notice."""
        return min(NOTICE_S, self.box_s / 2)


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell them that the call ends in so many seconds."""

    guild_id: int
    in_s: float


@dataclass(frozen=True, slots=True)
class Reprieve:
    """Nobody waits any more: tell people that the call continues."""

    guild_id: int


@dataclass(frozen=True, slots=True)
class End:
    """Its time is up."""

    guild_id: int


Verdict: TypeAlias = Warn | Reprieve | End


class TimeBox:
    """Which calls got a notice, and when they end."""

    def __init__(self) -> None:
        self._ends: dict[int, float] = {}

    def judge(self, now: float, calls: Iterable[Running], *, waiting: int, wanted: Collection[int] = ()) -> list[Verdict]:
        """What to do now. Of the calls over their limit, the oldest end first, one for each guild that waits.

        `waiting` is how many guilds wait for an engine. In the guilds of `wanted`, another channel waits for the guild's own call to end.
        """
        running = {call.guild_id: call for call in calls}
        self._ends = {guild_id: end for guild_id, end in self._ends.items() if guild_id in running}
        had_their_time = [call for call in running.values() if call.box_s and call.age_s >= call.box_s - call.notice_s]
        had_their_time.sort(key=lambda call: (call.guild_id not in self._ends, -call.age_s))
        for_any = [call for call in had_their_time if call.guild_id not in wanted][:waiting]
        due = {call.guild_id: call for call in had_their_time if call.guild_id in wanted or call in for_any}
        reprieved = [guild_id for guild_id in self._ends if guild_id not in due]
        for guild_id in reprieved:
            del self._ends[guild_id]
        return [*map(Reprieve, reprieved), *(verdict for call in due.values() if (verdict := self._judge_one(now, call)))]

    def _judge_one(self, now: float, call: Running) -> Verdict | None:
        if call.guild_id not in self._ends:
            in_s = max(call.notice_s, call.box_s - call.age_s)
            self._ends[call.guild_id] = now + in_s
            return Warn(call.guild_id, in_s)
        if now < self._ends[call.guild_id]:
            return None
        del self._ends[call.guild_id]
        return End(call.guild_id)
