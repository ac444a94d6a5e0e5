"""The objects of a Discord: users, guilds, channels, messages, voice sessions; and the facts about changes. Pure.

Ids are snowflakes as decimal strings, as on the wire. Times named `at_s` are seconds of the world's clock.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from discordplex.loopback.discord.world.permissions import Overwrite

TEXT, VOICE, ANNOUNCEMENT, ANNOUNCEMENT_THREAD, THREAD, STAGE = 0, 2, 5, 10, 11, 13
"""Kinds of channels; THREAD is a public one."""

MESSAGE_LIMIT_CHARS = 2000
"""Longest content of a message; one more is code 50035 (documented)."""


@dataclass(slots=True)
class User:
    """An account; `bot` for an application's own user, whose application has the same id."""

    id: str
    name: str
    token: str
    bot: bool


@dataclass(slots=True)
class Role:
    """A role; the one whose id is the guild's id is @everyone."""

    id: str
    name: str
    permissions: int


@dataclass(slots=True)
class GuildMember:
    """A user in a guild. `mute` and `deaf` are set by moderators."""

    user_id: str
    role_ids: list[str] = field(default_factory=list)
    nick: str | None = None
    mute: bool = False
    deaf: bool = False


@dataclass(slots=True)
class Channel:
    """A channel or a thread (`parent_id` is the thread's channel). A voice channel has its own chat."""

    id: str
    guild_id: str
    name: str
    kind: int
    position: int = 0
    user_limit: int = 0
    parent_id: str | None = None
    owner_id: str | None = None
    status: str | None = None
    overwrites: dict[str, Overwrite] = field(default_factory=dict)

    @property
    def is_voice(self) -> bool:
        """Whether it is a voice or stage channel."""
        return self.kind in (VOICE, STAGE)

    @property
    def is_thread(self) -> bool:
        """Whether it is a part of another channel."""
        return self.kind in (THREAD, ANNOUNCEMENT_THREAD)


@dataclass(slots=True)
class Guild:
    """A guild with everything in it."""

    id: str
    name: str
    owner_id: str
    roles: dict[str, Role]
    members: dict[str, GuildMember]
    channels: dict[str, Channel]

    @property
    def text_channel(self) -> Channel:
        """The first text channel."""
        return next(channel for channel in self.channels.values() if channel.kind == TEXT)

    @property
    def voice_channels(self) -> list[Channel]:
        """The voice channels in order."""
        return [channel for channel in self.channels.values() if channel.is_voice]


@dataclass(frozen=True, slots=True)
class Revision:
    """One version of a message's content, and its time."""

    at_s: float
    content: str


@dataclass(slots=True)
class ChatMessage:
    """A message with its whole history; `body` is every other field as the author sent it (embeds, components, flags)."""

    id: str
    channel_id: str
    author_id: str
    revisions: list[Revision]
    body: dict[str, Any]
    created_iso: str
    edited_iso: str | None = None
    deleted_at_s: float | None = None
    interaction_id: str | None = None

    @property
    def content(self) -> str:
        """The current text."""
        return self.revisions[-1].content

    @property
    def created_at_s(self) -> float:
        """When it was posted."""
        return self.revisions[0].at_s

    @property
    def flags(self) -> int:
        """The message's flag bits; 64 is ephemeral."""
        return int(self.body.get("flags") or 0)


@dataclass(frozen=True, slots=True)
class VoiceState:
    """Where a user is in voice, as everybody in the guild sees it; `channel_id` None means that they have left."""

    user_id: str
    guild_id: str
    channel_id: str | None
    session_id: str
    self_mute: bool = False
    self_deaf: bool = False
    mute: bool = False
    deaf: bool = False
    suppress: bool = False
    """In the audience of a stage channel: nobody hears them."""
    asked_to_speak_iso: str | None = None
    """Since when they have asked to speak there."""


@dataclass(frozen=True, slots=True)
class VoiceSessionGrant:
    """Permission to open one voice connection: what op 0 of the voice gateway must contain.

    `session_id` is that of the user's gateway session, `token` is new for each channel and each voice server.
    """

    user_id: str
    guild_id: str
    channel_id: str
    session_id: str
    token: str


VoiceEnd = Literal["left", "moved", "kicked", "server"]
"""Why a voice session ended: the user left, a moderator moved or disconnected them, or the voice server went away."""


@dataclass(frozen=True, slots=True)
class VoiceStateChanged:
    """A user entered, left, moved, muted."""

    before: VoiceState | None
    after: VoiceState


@dataclass(frozen=True, slots=True)
class VoiceSessionStarted:
    """A voice connection may be opened with this session from now on (VOICE_SERVER_UPDATE)."""

    session: VoiceSessionGrant


@dataclass(frozen=True, slots=True)
class VoiceSessionEnded:
    """The token of this session is no longer valid: the voice gateway closes its connection."""

    session: VoiceSessionGrant
    cause: VoiceEnd


@dataclass(frozen=True, slots=True)
class VoiceServerGone:
    """The guild's voice server went away for this session's user; a new one follows (endpoint null)."""

    session: VoiceSessionGrant


@dataclass(frozen=True, slots=True)
class MessagePosted:
    """A message appeared in a channel."""

    message: ChatMessage


@dataclass(frozen=True, slots=True)
class MessageEdited:
    """A message was edited."""

    message: ChatMessage


@dataclass(frozen=True, slots=True)
class MessageDeleted:
    """A message was deleted."""

    message: ChatMessage


@dataclass(frozen=True, slots=True)
class ChannelChanged:
    """A channel or thread was made or changed."""

    channel: Channel
    created: bool = False


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """A role of a guild was changed."""

    guild_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """A member's roles changed."""

    guild_id: str
    member: GuildMember


@dataclass(frozen=True, slots=True)
class VoiceStatusChanged:
    """A voice channel's status changed."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Typing:
    """Somebody is typing."""

    channel_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class CommandsChanged:
    """An application registered its commands, globally where `guild_id` is None."""

    application_id: str
    guild_id: str | None


@dataclass(frozen=True, slots=True)
class InteractionSent:
    """Somebody used a command or a component of an application."""

    application_id: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MemberRemoved:
    """A user was removed from a guild."""

    guild_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something else that a waiting test may ask about (a login, an interaction's reply)."""

    what: str


Fact = (
    VoiceStateChanged
    | VoiceSessionStarted
    | VoiceSessionEnded
    | VoiceServerGone
    | MessagePosted
    | MessageEdited
    | MessageDeleted
    | ChannelChanged
    | RoleChanged
    | MemberChanged
    | VoiceStatusChanged
    | Typing
    | CommandsChanged
    | InteractionSent
    | MemberRemoved
    | Noted
)
