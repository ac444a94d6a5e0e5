"""Overview: what a running bot tells an observer of itself at one moment. Pure: values only.

Names of servers, channels and people are in it only if they were asked for; what was said is never in it.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from discordplex.metrics import Metrics

DiscordState: TypeAlias = Literal["logging in", "connected", "standby", "reconnecting", "unreachable", "stopping"]
"""`standby`: the other processes of the bot have all of its gateway connections."""

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
class ProcessOverview:
    """One process of a bot that has several."""

    name: str
    """Its machine and its number there, for the operator."""
    version: str
    shards: tuple[int, ...] = ()
    calls: int = 0
    draining: bool = False
    """It takes nothing new."""
    lapsed: bool = False
    """It has not been heard of for so long that others may take what it has."""
    own: bool = False
    """It is the one that tells this."""


@dataclass(frozen=True, slots=True)
class ClusterOverview:
    """All processes of the bot, as the database said when it was last reached."""

    connected: bool
    """Whether it was reached at the last try: without it no call begins."""
    age_s: float
    """How long ago it was last reached."""
    processes: tuple[ProcessOverview, ...] = ()
    """This one first."""
    shards: int = 0
    free_shards: tuple[int, ...] = ()
    """Those that no living process has."""
    waiting: int = 0
    """Channels that wait for an engine in any process."""


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
    draining: bool = False
    """No call begins any more; those that run may go on for a while."""
    cluster: ClusterOverview | None = None
    """The processes of the bot; None if it has only this one."""
