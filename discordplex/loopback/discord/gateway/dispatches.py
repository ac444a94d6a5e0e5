"""The gateway's events: READY, GUILD_CREATE, and each fact of the world as Discord's events for it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

from discordplex.loopback.discord.world import payloads
from discordplex.loopback.discord.world.model import (
    ChannelChanged,
    Fact,
    Guild,
    InteractionSent,
    MemberChanged,
    MemberRemoved,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    RoleChanged,
    Typing,
    User,
    VoiceServerGone,
    VoiceSessionStarted,
    VoiceStateChanged,
    VoiceStatusChanged,
)
from discordplex.loopback.discord.world.world import World

GUILDS, GUILD_MEMBERS, GUILD_VOICE_STATES, GUILD_PRESENCES = 1 << 0, 1 << 1, 1 << 7, 1 << 8
GUILD_MESSAGES, GUILD_MESSAGE_TYPING, MESSAGE_CONTENT = 1 << 9, 1 << 11, 1 << 15
ALL_INTENTS = (1 << 26) - 1
PRIVILEGED = GUILD_MEMBERS | GUILD_PRESENCES | MESSAGE_CONTENT

DEFAULT_SOUND = {"name": "quack", "sound_id": "1", "volume": 1.0, "emoji_id": None, "emoji_name": "\N{DUCK}", "available": True}


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One event, and who may see it."""

    name: str
    payload: dict[str, Any]
    guild_id: str | None = None
    intent: int = 0
    """The intent that a connection needs for this event; 0 means none."""
    session_id: str | None = None
    """The only connection that gets it, where it is not everybody in the guild."""
    viewers: frozenset[str] | None = None
    """The users who may see the channel, where that matters."""
    blind: dict[str, Any] = field(default_factory=dict)
    """What a reader without the message content intent gets instead, by key."""


def ready(world: World, user: User, *, session_id: str, resume_url: str, guilds: list[Guild], shard: list[int] | None) -> dict[str, Any]:
    """The first event: the login's own user, and which guilds will follow."""
    found: dict[str, Any] = {
        "v": 10,
        "user": payloads.self_user(user),
        "guilds": [{"id": guild.id, "unavailable": True} for guild in guilds],
        "session_id": session_id,
        "session_type": "normal",
        "resume_gateway_url": resume_url,
        "application": {"id": user.id, "flags": payloads.application(world, user)["flags"]},
        "private_channels": [],
        "relationships": [],
        "presences": [],
        "user_settings": {},
        "geo_ordered_rtc_regions": [],
        "_trace": ["loopback"],
    }
    return found | {"shard": shard} if shard else found


def guild_create(world: World, guild: Guild, *, user_id: str, intents: int) -> dict[str, Any]:
    """A whole guild. Without the members intent it contains only the bot itself and the people in voice, as documented."""
    states = [state for state in world.voice_states.values() if state.guild_id == guild.id] if intents & GUILD_VOICE_STATES else []
    shown = {user_id, *(state.user_id for state in states)}
    members = [member for member in guild.members.values() if intents & GUILD_MEMBERS or member.user_id in shown]
    return payloads.guild(guild) | {
        "joined_at": payloads.JOINED_AT,
        "large": False,
        "unavailable": False,
        "member_count": len(guild.members),
        "members": [payloads.member(world, member) for member in members],
        "channels": [payloads.channel(channel) for channel in guild.channels.values() if not channel.is_thread],
        "threads": [payloads.channel(channel) for channel in guild.channels.values() if channel.is_thread],
        "voice_states": [payloads.voice_state(world, state, with_member=False) for state in states],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


@singledispatch
def dispatches(fact: Fact, world: World) -> Iterator[Dispatch]:
    """The events of a fact; most of the loopback's own facts have none."""
    del fact, world
    return iter(())


@dispatches.register
def _(fact: VoiceStateChanged, world: World) -> Iterator[Dispatch]:
    payload = payloads.voice_state(world, fact.after, with_member=True)
    yield Dispatch("VOICE_STATE_UPDATE", payload, guild_id=fact.after.guild_id, intent=GUILD_VOICE_STATES)


@dispatches.register
def _(fact: VoiceSessionStarted, world: World) -> Iterator[Dispatch]:
    session = fact.session
    payload = {"token": session.token, "guild_id": session.guild_id, "endpoint": world.voice_endpoint}
    yield Dispatch("VOICE_SERVER_UPDATE", payload, guild_id=session.guild_id, session_id=session.session_id)


@dispatches.register
def _(fact: VoiceServerGone, world: World) -> Iterator[Dispatch]:
    del world
    session = fact.session
    payload = {"token": session.token, "guild_id": session.guild_id, "endpoint": None}
    yield Dispatch("VOICE_SERVER_UPDATE", payload, guild_id=session.guild_id, session_id=session.session_id)


@dispatches.register(MessagePosted)
@dispatches.register(MessageEdited)
def _(fact: MessagePosted | MessageEdited, world: World) -> Iterator[Dispatch]:
    message = fact.message
    channel = world.channel(message.channel_id)
    if channel is None:
        return
    payload = payloads.message(world, message) | {"guild_id": channel.guild_id}
    author = world.guilds[channel.guild_id].members.get(message.author_id)
    if author:
        payload["member"] = {key: value for key, value in payloads.member(world, author).items() if key != "user"}
    name = "MESSAGE_CREATE" if isinstance(fact, MessagePosted) else "MESSAGE_UPDATE"
    blind = {key: value for key, value in payloads.message(world, message, reader_id="").items() if payload[key] != value}
    yield Dispatch(name, payload, guild_id=channel.guild_id, intent=GUILD_MESSAGES, viewers=viewers(world, message.channel_id), blind=blind)


@dispatches.register
def _(fact: MessageDeleted, world: World) -> Iterator[Dispatch]:
    channel = world.channel(fact.message.channel_id)
    if channel is None:
        return
    payload = {"id": fact.message.id, "channel_id": channel.id, "guild_id": channel.guild_id}
    yield Dispatch("MESSAGE_DELETE", payload, guild_id=channel.guild_id, intent=GUILD_MESSAGES, viewers=viewers(world, channel.id))


@dispatches.register
def _(fact: ChannelChanged, world: World) -> Iterator[Dispatch]:
    del world
    kind = "THREAD" if fact.channel.is_thread else "CHANNEL"
    payload = payloads.channel(fact.channel) | ({"newly_created": True} if kind == "THREAD" and fact.created else {})
    yield Dispatch(f"{kind}_{'CREATE' if fact.created else 'UPDATE'}", payload, guild_id=fact.channel.guild_id, intent=GUILDS)


@dispatches.register
def _(fact: RoleChanged, world: World) -> Iterator[Dispatch]:
    place = [*world.guilds[fact.guild_id].roles].index(fact.role.id)
    payload = {"guild_id": fact.guild_id, "role": payloads.role(fact.role, position=place)}
    yield Dispatch("GUILD_ROLE_UPDATE", payload, guild_id=fact.guild_id, intent=GUILDS)


@dispatches.register
def _(fact: MemberChanged, world: World) -> Iterator[Dispatch]:
    payload = payloads.member(world, fact.member) | {"guild_id": fact.guild_id}
    oneself = frozenset({fact.member.user_id})  # who gets it without the intent (documented)
    others = frozenset(world.guilds[fact.guild_id].members) - oneself
    yield Dispatch("GUILD_MEMBER_UPDATE", payload, guild_id=fact.guild_id, viewers=oneself)
    yield Dispatch("GUILD_MEMBER_UPDATE", payload, guild_id=fact.guild_id, viewers=others, intent=GUILD_MEMBERS)


@dispatches.register
def _(fact: VoiceStatusChanged, world: World) -> Iterator[Dispatch]:
    del world
    channel = fact.channel
    payload = {"id": channel.id, "guild_id": channel.guild_id, "status": channel.status}
    yield Dispatch("VOICE_CHANNEL_STATUS_UPDATE", payload, guild_id=channel.guild_id, intent=GUILDS)


@dispatches.register
def _(fact: Typing, world: World) -> Iterator[Dispatch]:
    channel = world.channel(fact.channel_id)
    if channel is None:
        return
    member = world.guilds[channel.guild_id].members[fact.user_id]
    payload = {
        "channel_id": channel.id,
        "guild_id": channel.guild_id,
        "user_id": fact.user_id,
        "timestamp": int(world.unix_now_s()),
        "member": payloads.member(world, member),
    }
    yield Dispatch("TYPING_START", payload, guild_id=channel.guild_id, intent=GUILD_MESSAGE_TYPING, viewers=viewers(world, channel.id))


@dispatches.register
def _(fact: InteractionSent, world: World) -> Iterator[Dispatch]:
    del world
    receivers = frozenset({fact.application_id})
    yield Dispatch("INTERACTION_CREATE", fact.payload, guild_id=fact.payload.get("guild_id"), viewers=receivers)


@dispatches.register
def _(fact: MemberRemoved, world: World) -> Iterator[Dispatch]:
    del world  # without `unavailable` in it, the guild is gone for this user (documented)
    yield Dispatch("GUILD_DELETE", {"id": fact.guild_id}, intent=GUILDS, viewers=frozenset({fact.user_id}))


def viewers(world: World, channel_id: str) -> frozenset[str]:
    """The users who may see a channel."""
    channel = world.channel(channel_id)
    if channel is None:
        return frozenset()
    members = world.guilds[channel.guild_id].members
    return frozenset(user_id for user_id in members if world.may(user_id, channel, "view_channel"))
