"""SchedulingContext: what every part of this room needs, made once by the dispatcher."""

from dataclasses import dataclass
from typing import Protocol

from discordplex.bot.call.interface import AnyCall
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.chat.notices import Notices
from discordplex.bot.place import Place
from discordplex.bot.rules import Rules
from discordplex.bot.scheduling.move_limits import Moves
from discordplex.bot.scheduling.registry import SessionRegistry
from discordplex.bot.scheduling.timers import Timers
from discordplex.clock import Clock
from discordplex.engine import EngineLease


class GuildAccess(Protocol):
    """What scheduling needs of the Discord side of the bot; `login.Login` is it. All methods return at once. Thread: loop."""

    def voice_channel_at(self, place: Place) -> VoiceChannel | None:
        """The voice channel; None where there is none."""
        ...

    def rules(self, guild_id: int) -> Rules:
        """What holds in a guild."""
        ...

    def refusal(self) -> str | None:
        """Why no call can work at all, as a sentence; None where one can."""
        ...

    def new_call(self, voice_channel: VoiceChannel, lease: EngineLease, *, quiet: bool, asker: int | None) -> AnyCall:
        """Make a call that does not run yet. `quiet`: it says nothing before it works; `asker`: whose persona it has."""
        ...


@dataclass(frozen=True, slots=True)
class SchedulingContext:
    """The services that the parts of this room share."""

    guilds: GuildAccess
    registry: SessionRegistry
    notices: Notices
    timers: Timers
    moves: Moves
    clock: Clock
