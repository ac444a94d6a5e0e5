"""Usage: for how long each guild has used engines that cost money in the last 24 hours. Pure: `now` is given to it.

It counts by the hour: what was used in an hour is free again at the same hour of the next day, in one piece. A guild that removes the bot
keeps what it has used, so that nobody gets more by inviting it again.
"""

from collections.abc import Callable, Iterable

from discordplex.store.records import HourOfUse

HOUR_S = 3600
HOURS = 24
"""What counts: the current hour and the 23 before it."""


class Usage:
    """Seconds by guild and hour; older ones are forgotten. `now` gives the time in seconds since 1970. Thread: loop."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._used: dict[int, dict[int, float]] = {}
        """By guild, then hour."""
        self._unsaved: dict[tuple[int, int], float] = {}
        """By guild and hour."""
        self._oldest_hour = 0

    @property
    def oldest_hour(self) -> int:
        """The first hour that counts, in hours since 1970."""
        return int(self._now() // HOUR_S) - HOURS + 1

    def add(self, guild_id: int, seconds: float) -> None:
        """A guild has used such an engine for these seconds until now."""
        self._drop_old()
        hour = int(self._now() // HOUR_S)
        self._count(guild_id, hour, seconds)
        self._unsaved[guild_id, hour] = self._unsaved.get((guild_id, hour), 0.0) + seconds

    def used_s(self, guild_id: int) -> float:
        """How many seconds of a guild count now."""
        return sum(self._hours(guild_id).values())

    def free_at(self, guild_id: int, limit_s: float, wanted_s: float) -> float:
        """When, in seconds since 1970, the guild may use `wanted_s` (at most `limit_s`) of `limit_s`, if it uses nothing until then."""
        used_s, free_at = self.used_s(guild_id), self._now()
        for hour, seconds in sorted(self._hours(guild_id).items()):
            if used_s + wanted_s <= limit_s:
                break
            used_s -= seconds
            free_at = float((hour + HOURS) * HOUR_S)
        return free_at

    # What is saved

    def restore(self, stored: Iterable[HourOfUse]) -> None:
        """Add what an earlier process has counted."""
        for one in stored:
            self._count(one.guild_id, one.hour, one.seconds)
        self._drop_old()

    def replace(self, stored: Iterable[HourOfUse], covers: Callable[[int], bool]) -> None:
        """Other processes have counted in these guilds, too: this is stored now."""
        self._used = {guild_id: hours for guild_id, hours in self._used.items() if not covers(guild_id)}
        for (guild_id, hour), seconds in self._unsaved.items():
            if covers(guild_id):
                self._count(guild_id, hour, seconds)
        self.restore(stored)

    @property
    def unsaved(self) -> list[HourOfUse]:
        """The whole seconds that are not saved yet. Call `saved` with them once they are."""
        self._drop_old()
        return [HourOfUse(*key, int(seconds)) for key, seconds in self._unsaved.items() if seconds >= 1]

    def saved(self, rows: Iterable[HourOfUse]) -> None:
        """These are saved."""
        for one in rows:
            key = (one.guild_id, one.hour)
            if key in self._unsaved:  # an hour that passed meanwhile is not
                self._unsaved[key] -= one.seconds

    def _count(self, guild_id: int, hour: int, seconds: float) -> None:
        hours = self._used.setdefault(guild_id, {})
        hours[hour] = hours.get(hour, 0.0) + seconds

    def _hours(self, guild_id: int) -> dict[int, float]:
        """The seconds of a guild by the hours that count."""
        oldest_hour = self.oldest_hour
        return {hour: seconds for hour, seconds in self._used.get(guild_id, {}).items() if hour >= oldest_hour}

    def _drop_old(self) -> None:
        if self.oldest_hour == self._oldest_hour:
            return
        self._oldest_hour = self.oldest_hour
        self._used = {guild_id: hours for guild_id in self._used if (hours := self._hours(guild_id))}
        self._unsaved = {key: seconds for key, seconds in self._unsaved.items() if key[1] >= self._oldest_hour}
