"""Moves: limits how often the bot joins, changes and leaves voice channels, so that one guild cannot use up Discord's limit for all.

Discord takes 120 messages a minute from a gateway connection; py-cord sends 110, and then every guild waits for up to a minute. Each
move is a message.
"""

from collections.abc import Callable, Iterable

from discordplex.bot.cooldowns import Cooldowns, Rate
from discordplex.bot.scheduling.timers import Timers
from discordplex.clock import Clock

GUILD = Rate(burst=8, interval_s=8.0)
ALL = Rate(burst=60, interval_s=1.5)
"""At most 100 moves in any minute. The rest of Discord's limit is for other messages."""

SHARE = Rate(burst=1, interval_s=60.0)
"""A guild that has used less of this (one minute for each move) comes before the others."""

EVERYBODY = "all"
"""The key for the use of all guilds together."""

SHORTEST_S = 0.05


class MoveLimits:
    """The moves of all guilds. Thread: loop.

    A guild that may not move yet has one pending move for each channel that wants a call, and one for its call: the newest of each.
    """

    def __init__(self, *, clock: Clock, timers: Timers) -> None:
        self._clock = clock
        self._timers = timers
        self._used = Cooldowns()
        self._pending: dict[int, dict[int | None, Callable[[], None]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._pending.values()))

    def waiting_channels(self, guild_id: int) -> frozenset[int]:
        """The channels of a guild that wait until the bot may move."""
        return frozenset(channel_id for channel_id in self._pending.get(guild_id, ()) if channel_id is not None)

    def wait_s(self, guild_id: int) -> float:
        """Seconds until the bot may move in this guild; 0 if it may now."""
        now = self._clock.now()
        return max(self._used.wait_s(guild_id, GUILD, now), self._used.wait_s(EVERYBODY, ALL, now))

    def made(self, guild_id: int) -> None:
        """Count a move of the bot in this guild. Leaving is never delayed, but also counts."""
        for key, rate in ((guild_id, GUILD), (("share", guild_id), SHARE), (EVERYBODY, ALL)):
            self._used.use(key, rate, self._clock.now())

    def when_possible(self, guild_id: int, move: Callable[[], None], channel_id: int | None = None) -> None:
        """Call `move` when the bot may move in this guild. It replaces the pending move of this channel, or (None) of the guild's call.

        `move` must call `made` if it moves. Pending moves of other channels are called after it.
        """
        self._pending.setdefault(guild_id, {})[channel_id] = move
        self._grant()

    def forget(self, guild_id: int, channels: Iterable[int | None]) -> bool:
        """Drop the pending moves of these channels, or (None) of the call; returns whether there were any."""
        pending = self._pending.get(guild_id, {})
        gone = [pending.pop(channel_id, None) for channel_id in channels]
        if not pending:
            self._pending.pop(guild_id, None)
        return any(gone)

    def _grant(self) -> None:
        """Call the moves that are possible now, first of the guilds that moved least recently; check again when more are possible."""
        for guild_id in sorted(self._pending, key=self._used_lately):
            if not self.wait_s(guild_id):
                for move in self._pending.pop(guild_id, {}).values():
                    move()
        if self._pending:
            self._timers.later("moves", max(SHORTEST_S, min(map(self.wait_s, self._pending))), self._grant)

    def _used_lately(self, guild_id: int) -> float:
        return self._used.wait_s(("share", guild_id), SHARE, self._clock.now())
