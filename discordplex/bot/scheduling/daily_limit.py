"""DailyLimit: how many minutes a guild may talk in 24 hours, if the engine costs money."""

import math
from collections.abc import Callable, Sequence

from discordplex.bot import texts
from discordplex.bot.guild_rules import MINUTE_S, GuildRules
from discordplex.bot.scheduling.usage import Usage
from discordplex.engine import EngineInfo

NOTICE_SHARE = 0.8
"""People get a notice when so much of the limit is used."""


class DailyLimit:
    """The limit of each guild (`limits.minutes_per_day`), and what is left of it. Thread: loop."""

    def __init__(self, usage: Usage, *, rules: Callable[[int], GuildRules], infos: Callable[[], Sequence[EngineInfo]]) -> None:
        """`infos` says what the engines of each kind are."""
        self._usage = usage
        self._rules = rules
        self._infos = infos

    def add(self, guild_id: int, seconds: float) -> None:
        """A guild has talked for these seconds. Without a limit they are not counted."""
        if self._rules(guild_id).minutes_per_day:
            self._usage.add(guild_id, seconds)

    def share(self, guild_id: int) -> float:
        """How much of its limit a guild has used; 1 is all, 0 also if there is no limit."""
        limit_s = self._rules(guild_id).day_s
        return self._usage.used_s(guild_id) / limit_s if limit_s else 0.0

    def used_up(self, guild_id: int) -> str:
        """The sentence that the minutes are used up, and when the next one is free."""
        rules = self._rules(guild_id)
        return texts.waiting.minutes_used_up(rules.minutes_per_day, self._usage.free_at(guild_id, rules.day_s, MINUTE_S))

    def may_cost(self, guild_id: int) -> bool:
        """Whether the guild may have an engine that costs money: it has at least a minute left."""
        limit_s = self._rules(guild_id).day_s
        return not limit_s or self._usage.used_s(guild_id) + MINUTE_S <= limit_s

    def refusal(self, guild_id: int) -> str | None:
        """The same sentence if the guild may have no engine: it has too little left, and every kind costs money."""
        return None if self.may_cost(guild_id) or not all(info.costs_money for info in self._infos()) else self.used_up(guild_id)

    def minutes(self, guild_id: int) -> tuple[int, int] | None:
        """The minutes that the guild has used, and its limit; None if there is no limit."""
        limit = self._rules(guild_id).minutes_per_day
        if not limit or not any(info.costs_money for info in self._infos()):
            return None
        return min(limit, math.ceil(self._usage.used_s(guild_id) / MINUTE_S)), limit
