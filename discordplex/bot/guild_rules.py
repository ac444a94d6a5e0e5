"""GuildRules: the settings of a guild as calls and the scheduler see them, from its admins or from the configuration."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, Protocol

from typing_extensions import Self

from discordplex.config import BotConfig, LimitsConfig
from discordplex.engine import Persona

MINUTE_S = 60.0
"""The length of a minute in the rules below; one test makes it shorter."""


@dataclass(frozen=True, slots=True)
class CaptionsPlace:
    """Where captions and notices go."""

    where: Literal["voice", "channel", "thread", "off"] = "voice"
    """The voice channel's own chat, a text channel, a new thread for each call (notices stay in the voice chat), or nowhere."""
    channel_id: int | None = None
    """The text channel; None with `thread` means a suitable one."""

    @classmethod
    def parse(cls, setting: str) -> Self:
        """Read `bot.captions`."""
        if setting.isdigit():
            return cls("channel", int(setting))
        return cls("off" if setting == "off" else "thread" if setting == "thread" else "voice")


@dataclass(frozen=True, slots=True)
class GuildRules:
    """The rules of one guild."""

    auto_join: bool = True
    captions: CaptionsPlace = CaptionsPlace()
    allow_channels: frozenset[int] = frozenset()
    """Where the bot talks; empty: everywhere."""
    deny_channels: frozenset[int] = frozenset()
    allow_roles: frozenset[int] = frozenset()
    """Who may call it; empty: everybody."""
    deny_roles: frozenset[int] = frozenset()
    idle_minutes: float = 0
    """The bot leaves after this long without speech; 0 is never."""
    busy_idle_minutes: float = 5
    """The same while others wait; 0 is never."""
    paid_idle_minutes: float = 5
    """The same on an engine that costs money; 0 is never."""
    minutes_per_day: int = 0
    """How long the guild may talk in 24 hours on engines that cost money; 0 is no limit."""
    max_minutes: float = 0
    """When others wait, a call ends after this long; 0 is never."""
    hear_bots: bool = False
    noise_gate: bool = False
    voice_status: bool = True
    transcripts: bool = False
    """Whether transcripts are kept."""
    captions_of_people: bool = False
    """Whether captions also show what people say, if an engine or the ears transcribe it."""
    notes: bool = False
    """Whether notes of each call are posted when it ends. Only if transcripts are kept."""
    opt_outs_unknown: bool = False
    """Whether earlier opt-outs are unknown, because the settings could not be read."""

    def idle_limit_minutes(self, *, others_wait: bool, costs_money: bool = False) -> float:
        """The limit without speech that applies now; 0 is none."""
        limits = (self.idle_minutes, self.busy_idle_minutes if others_wait else 0, self.paid_idle_minutes if costs_money else 0)
        return min((minutes for minutes in limits if minutes), default=0)

    @property
    def max_s(self) -> float:
        """`max_minutes` in seconds."""
        return self.max_minutes * MINUTE_S

    @property
    def day_s(self) -> float:
        """`minutes_per_day` in seconds."""
        return self.minutes_per_day * MINUTE_S

    @classmethod
    def configured(cls, bot: BotConfig, limits: LimitsConfig) -> Self:
        """The rules of the configuration."""
        return cls(
            auto_join=bot.auto_join,
            captions=CaptionsPlace.parse(bot.captions),
            allow_channels=ids(bot.allow_channels),
            deny_channels=ids(bot.deny_channels),
            allow_roles=ids(bot.allow_roles),
            deny_roles=ids(bot.deny_roles),
            idle_minutes=bot.idle_minutes,
            busy_idle_minutes=bot.busy_idle_minutes,
            minutes_per_day=limits.minutes_per_day,
            paid_idle_minutes=limits.idle_minutes,
            max_minutes=bot.max_minutes,
            hear_bots=bot.hear_bots,
            noise_gate=bot.noise_gate,
            voice_status=bot.voice_status,
            captions_of_people=bot.captions_of_people,
        )


class Preferences(Protocol):
    """Gives rules, opt-outs and personas. All methods: the event loop's thread."""

    @property
    def opted_out(self) -> AbstractSet[int]:
        """The people who must not be heard, in any guild. After a change, `Dispatcher.preferences_changed` must be called."""
        ...

    async def learn(self, guild_id: int) -> None:
        """Make sure that a guild's rules are known. Await it before anything is decided there. Never raises."""
        ...

    def knows(self, guild_id: int) -> bool:
        """Whether the guild's rules are known."""
        ...

    def rules(self, guild_id: int) -> GuildRules:
        """The rules of a guild. Returns at once, because it is called for every event."""
        ...

    async def persona(self, guild_id: int, person_id: int | None) -> Persona:
        """The persona for a call that this person (or None) started. The engine takes it."""
        ...


def ids(texts: Iterable[str]) -> frozenset[int]:
    """Ids as numbers."""
    return frozenset(int(text) for text in texts)
