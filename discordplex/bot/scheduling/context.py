"""SchedulingContext: what every part of this package needs. The dispatcher makes it once."""

from dataclasses import dataclass
from typing import Protocol

from discordplex.bot.call.interface import AnyCall
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.chat.notices import Notices
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.place import Place
from discordplex.bot.scheduling.daily_limit import DailyLimit
from discordplex.bot.scheduling.move_limits import MoveLimits
from discordplex.bot.scheduling.registry import SessionRegistry
from discordplex.bot.scheduling.timers import Timers
from discordplex.clock import Clock
from discordplex.engine import EngineLease


class GuildAccess(Protocol):
    """What scheduling needs to know of Discord; `login.Login` implements it. All methods return at once. Thread: loop."""

    def voice_channel_at(self, place: Place) -> VoiceChannel | None:
        """The voice channel; None if there is none."""
        ...

    def is_away(self, guild_id: int) -> bool:
        """Whether nothing is known of the guild for now, because its connection is being opened or Discord cannot serve it."""
        ...

    def rules(self, guild_id: int) -> GuildRules:
        """The rules of a guild."""
        ...

    def persona_refusal(self) -> str | None:
        """Why the engine refuses the configured persona, as a sentence; None if it takes it. While it refuses, no call is started."""
        ...

    def new_call(self, voice_channel: VoiceChannel, lease: EngineLease, *, quiet: bool, asker: int | None) -> AnyCall:
        """Make a call that does not run yet. `quiet`: it posts nothing before it works. `asker`: the person whose persona it uses."""
        ...


@dataclass(frozen=True, slots=True)
class SchedulingContext:
    """The services that the parts of this package share."""

    guilds: GuildAccess
    registry: SessionRegistry
    notices: Notices
    timers: Timers
    moves: MoveLimits
    daily_limit: DailyLimit
    clock: Clock
