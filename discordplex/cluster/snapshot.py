"""Snapshot: what the rows of a cluster say at one moment. Pure: values only.

All times are seconds since 1970 by the database's clock. A row is its holder's for as long as the holder is a member.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from discordplex.engine_slots import SlotPurpose
from discordplex.sharding import shard_of

TTL_S = 4.0
"""How long a member lives after its last beat."""

NOBODY = ""
"""The holder of the place of a channel whose process is gone, until its shard is logged in elsewhere."""

WishPurpose: TypeAlias = SlotPurpose | Literal["running"]
"""`running` wishes for nothing: it says that the guild has a call."""

WishKey: TypeAlias = tuple[str, int, int, str]


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A process of the bot."""

    member: str
    """Unique for each start of a process."""
    name: str
    """Its machine and its number there, for operators."""
    version: str
    slots: tuple[str, ...]
    """The engine slots of its configuration."""
    draining: bool
    """It takes nothing new."""
    started_at: float
    expires_at: float
    """When it counts as dead unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A gateway connection of the bot."""

    shard: int
    holder: str | None = None
    moved_at: float = 0.0
    """When its holder changed."""
    login_at: float = 0.0
    """When it last logged in, or will; 0 if that is long ago."""


@dataclass(frozen=True, slots=True)
class SlotRow:
    """The right to hold one call on an engine."""

    slot: str
    """Its kind, a colon, and its server or number: `personaplex:gpu:8998`. Without secrets."""
    holder: str | None = None
    guild_id: int | None = None
    """For which guild it was granted, until it is used; a negative number stands for a call of its holder."""
    purpose: SlotPurpose = "call"
    asked_back: bool = False
    """It is a spare, and a call needs it."""
    failures: int = 0
    """How many times in a row it has failed."""
    paused_until: float = 0.0
    """It failed: until then it is taken only where nothing works."""
    lapsed_at: float = 0.0
    """When its holder died without giving it back, or was last seen to keep it busy; 0 if it works. A frozen one stays connected to it."""

    @property
    def kind(self) -> str:
        """The kind of engine."""
        return kind_of(self.slot)


@dataclass(frozen=True, slots=True)
class WishRow:
    """A channel that waits for an engine slot, or a guild with a call."""

    holder: str
    guild_id: int
    channel_id: int
    purpose: WishPurpose = "call"
    turn: float = 0.0
    """The order of guilds; for a running call, when its channel asked for it."""
    since: float = 0.0
    """The order of channels within a guild; for a running call, when it began."""
    ready: bool = True
    """Whether it could start now; of a call, whether it goes on."""
    kinds: tuple[str, ...] = ()
    """The kinds of engine that it may have, the preferred one first."""

    @property
    def key(self) -> WishKey:
        """What there is one row of."""
        return self.holder, self.guild_id, self.channel_id, self.purpose


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows of a cluster."""

    now: float = 0.0
    up_since: float = 0.0
    """When the database server was started."""
    members: Mapping[str, MemberRow] = field(default_factory=dict)
    shards: Mapping[int, ShardRow] = field(default_factory=dict)
    slots: Mapping[str, SlotRow] = field(default_factory=dict)
    wishes: Mapping[WishKey, WishRow] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    def is_alive(self, member: str | None) -> bool:
        """Whether this is a member that has not lapsed. One that lives too long was renewed before the database's clock went back."""
        row = self.members.get(member or "")
        return row is not None and self.now < row.expires_at < self.now + 2 * TTL_S

    def may_speak(self, member: str, guild_id: int) -> bool:
        """Whether a guild is on a shard of this member. A negative number stands for a call of the member itself."""
        return guild_id < 0 or not self.shards or self.shard_of(guild_id).holder == member

    def shard_of(self, guild_id: int) -> ShardRow:
        """The shard that gets a guild's events. There must be shards."""
        return self.shards[shard_of(guild_id, len(self.shards))]


def kind_of(slot: str) -> str:
    """The kind of engine of a slot."""
    return slot.split(":", maxsplit=1)[0]
