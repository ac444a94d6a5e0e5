"""Overview: what a running bot tells an observer of itself at one moment. Pure: values only.

Names of servers, channels and people are in it only if they were asked for; what was said is never in it.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from discordplex.metrics import Metrics

DiscordState: TypeAlias = Literal["logging in", "connected", "reconnecting", "unreachable", "stopping"]
StoreState: TypeAlias = Literal["ok", "memory only", "away"]

SILENT_DBFS = -100.0
"""The level of somebody who makes no sound."""


@dataclass(frozen=True, slots=True)
class VoiceOverview:
    """Somebody in a call: a person, or the bot."""

    speaking: bool = False
    level_dbfs: float = SILENT_DBFS
    """The level of the newest 20 ms, in dB of full scale."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class CallOverview:
    """One call."""

    number: int
    """Unique in this login."""
    phase: str
    """In one or two words."""
    engine: str
    """The name of the engine that people read."""
    age_s: float
    people: tuple[VoiceOverview, ...]
    bot: VoiceOverview
    metrics: Metrics
    place: str = ""
    """The server and the channel."""


@dataclass(frozen=True, slots=True)
class EngineServer:
    """One engine server, or all places of a service together, as its provider knows it."""

    kind: str
    """What people are told of it; no address."""
    capacity: int
    busy: int
    """How many calls it holds now."""
    failures: int = 0
    """How many times in a row it has failed."""
    retry_in_s: float = 0.0
    """For how long no call tries it because it failed; 0 if it may be tried."""
    address: str = ""
    """For the operator."""

    @property
    def failed(self) -> bool:
        """Whether it is left alone because it failed."""
        return self.retry_in_s > 0


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole bot."""

    discord: DiscordState = "logging in"
    guilds: int = 0
    """In how many servers it is."""
    calls: tuple[CallOverview, ...] = ()
    waiting: tuple[str, ...] = ()
    """For each channel in the queue, the next one first, where it is; empty texts without names."""
    engines: tuple[EngineServer, ...] = ()
