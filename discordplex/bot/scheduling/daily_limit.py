"""DailyLimit: how many minutes a guild may talk in 24 hours, if the engine costs money."""

import math
from collections.abc import Callable

from discordplex.bot import texts
from discordplex.bot.guild_rules import MINUTE_S, GuildRules
from discordplex.bot.scheduling.usage import Usage

NOTICE_SHARE = 0.8
"""People get a notice when so much of the limit is used."""


class DailyLimit:
    """The limit of each guild (`limits.minutes_per_day`), and what is left of it. Thread: loop."""

    def __init__(self, usage: Usage, *, rules: Callable[[int], GuildRules], costs_money: Callable[[], bool]) -> None:
        """`costs_money` says whether the engine of the next call costs money."""
        self._usage = usage
        self._rules = rules
        self._costs_money = costs_money

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

    def refusal(self, guild_id: int) -> str | None:
        """The same sentence if the guild has less than a minute left for another call; None if it has more."""
        limit_s = self._rules(guild_id).day_s
        too_little = limit_s and self._usage.used_s(guild_id) + MINUTE_S > limit_s
        return self.used_up(guild_id) if too_little and self._costs_money() else None

    def minutes(self, guild_id: int) -> tuple[int, int] | None:
        """The minutes that the guild has used, and its limit; None if there is no limit."""
        limit = self._rules(guild_id).minutes_per_day
        if not limit or not self._costs_money():
            return None
        return min(limit, math.ceil(self._usage.used_s(guild_id) / MINUTE_S)), limit
