"""Moves: how often the bot enters, changes and leaves voice channels, so that no guild's people use up what Discord allows all of them.

Discord takes 120 messages a minute from a gateway connection; py-cord sends 110, and then every guild waits for up to a minute. Each
move is a message.
"""

from collections.abc import Callable, Iterable

from discordplex.bot.cooldowns import Cooldowns, Rate
from discordplex.bot.scheduling.timers import Timers
from discordplex.clock import Clock

GUILD = Rate(burst=8, interval_s=8.0)
ALL = Rate(burst=60, interval_s=1.5)
"""At most 100 moves in any minute; the rest is for what else is sent."""

SHARE = Rate(burst=1, interval_s=60.0)
"""By what a guild has used of this, a minute for each move, it comes before or after the others."""

EVERYBODY = "all"
"""The key of what all guilds have used together."""

SHORTEST_S = 0.05


class Moves:
    """The moves of all guilds. Thread: loop.

    A guild that may not move yet has one wish for each channel that wants a call, and one for its call, the newest of each.
    """

    def __init__(self, *, clock: Clock, timers: Timers) -> None:
        self._clock = clock
        self._timers = timers
        self._used = Cooldowns()
        self._wishes: dict[int, dict[int | None, Callable[[], None]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._wishes.values()))

    def wishing(self, guild_id: int) -> frozenset[int]:
        """The channels of a guild that want a call and have to wait for it."""
        return frozenset(channel_id for channel_id in self._wishes.get(guild_id, ()) if channel_id is not None)

    def wait_s(self, guild_id: int) -> float:
        """Seconds until the bot may move in this guild; 0 where it may now."""
        now = self._clock.now()
        return max(self._used.wait_s(guild_id, GUILD, now), self._used.wait_s(EVERYBODY, ALL, now))

    def made(self, guild_id: int) -> None:
        """The bot moves in this guild. Leaving is never held up, and counts all the same."""
        for key, rate in ((guild_id, GUILD), (("share", guild_id), SHARE), (EVERYBODY, ALL)):
            self._used.use(key, rate, self._clock.now())

    def when_possible(self, guild_id: int, move: Callable[[], None], channel_id: int | None = None) -> None:
        """Call `move` as soon as the bot may move in this guild, in place of the earlier wish of this channel, or (None) of the call there.

        It says `made` if it moves. Those who waited in other channels are called after it and find that it has.
        """
        self._wishes.setdefault(guild_id, {})[channel_id] = move
        self._grant()

    def forget(self, guild_id: int, channels: Iterable[int | None]) -> bool:
        """Nobody in these channels, nor (None) the call, wishes anything any more; whether somebody did."""
        wishes = self._wishes.get(guild_id, {})
        gone = [wishes.pop(channel_id, None) for channel_id in channels]
        if not wishes:
            self._wishes.pop(guild_id, None)
        return any(gone)

    def _grant(self) -> None:
        """Grant what is possible, first to those who have moved least lately; look again when more is."""
        for guild_id in sorted(self._wishes, key=self._used_lately):
            if not self.wait_s(guild_id):
                for move in self._wishes.pop(guild_id, {}).values():
                    move()
        if self._wishes:
            self._timers.later("moves", max(SHORTEST_S, min(map(self.wait_s, self._wishes))), self._grant)

    def _used_lately(self, guild_id: int) -> float:
        return self._used.wait_s(("share", guild_id), SHARE, self._clock.now())
