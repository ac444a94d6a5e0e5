"""The world's objects as Discord's JSON. Pure.

Ids and permission sets are strings on the wire, missing values are null; a person has no `bot` key, as with the real Discord. The keys are
those without which py-cord, discord.py, disnake or discord.js refuse an object, and the simple ones that people read.
"""

import re
from typing import Any

from discordplex.loopback.discord.world.directory import Directory
from discordplex.loopback.discord.world.model import TEXT, Channel, ChatMessage, Guild, GuildMember, Role, User, VoiceState
from discordplex.loopback.discord.world.permissions import BITS, Overwrite

Json = dict[str, Any]

JOINED_AT = "2022-01-01T00:00:00.000000+00:00"
PRIVILEGED_FLAGS = 1 << 12 | 1 << 14 | 1 << 18
"""Application flags of a verified application with the three privileged intents: presences, members, message content."""

SLASH_REPLY, REPLY = 20, 19


def user(who: User) -> Json:
    """A user as others see them."""
    found: Json = {
        "id": who.id,
        "username": who.name.lower(),
        "global_name": None if who.bot else who.name,
        "discriminator": f"{int(who.id) >> 22 & 0xFFF:04d}" if who.bot else "0",
        "avatar": None,
        "banner": None,
        "accent_color": None,
        "avatar_decoration_data": None,
        "public_flags": 0,
        "flags": 0,
    }
    return found | {"bot": True} if who.bot else found


def self_user(who: User) -> Json:
    """A user as it sees itself."""
    return user(who) | {"email": None, "verified": True, "mfa_enabled": True, "locale": "en-US", "premium_type": 0}


def member(directory: Directory, whose: GuildMember) -> Json:
    """A guild's member, including the user."""
    return {
        "user": user(directory.users[whose.user_id]),
        "nick": whose.nick,
        "avatar": None,
        "banner": None,
        "roles": list(whose.role_ids),
        "joined_at": JOINED_AT,
        "premium_since": None,
        "deaf": whose.deaf,
        "mute": whose.mute,
        "flags": 0,
        "pending": False,
        "communication_disabled_until": None,
    }


def role(which: Role, *, position: int) -> Json:
    """A role."""
    return {
        "id": which.id,
        "name": which.name,
        "description": None,
        "permissions": str(which.permissions),
        "position": position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": False,
        "mentionable": False,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }


def overwrite(entry: Overwrite) -> Json:
    """A channel's overwrite for a role or a member."""
    return {"id": entry.target_id, "type": entry.kind, "allow": str(entry.allow), "deny": str(entry.deny)}


def channel(which: Channel, *, last_message_id: str | None = None) -> Json:
    """A channel or a thread."""
    found: Json = {
        "id": which.id,
        "type": which.kind,
        "guild_id": which.guild_id,
        "name": which.name,
        "position": which.position,
        "permission_overwrites": [overwrite(entry) for entry in which.overwrites.values()],
        "parent_id": which.parent_id,
        "last_message_id": last_message_id,
        "nsfw": False,
        "rate_limit_per_user": 0,
        "flags": 0,
    }
    if which.is_thread:
        return found | _thread_part(which)
    if which.is_voice:
        voice = {"bitrate": 64000, "user_limit": which.user_limit, "rtc_region": None, "video_quality_mode": 1, "status": which.status}
        return found | voice
    return found | {"topic": None, "last_pin_timestamp": None, "default_thread_rate_limit_per_user": 0}


def _thread_part(which: Channel) -> Json:
    metadata = {
        "archived": False,
        "auto_archive_duration": 1440,
        "archive_timestamp": JOINED_AT,
        "create_timestamp": JOINED_AT,
        "locked": False,
    }
    return {
        "owner_id": which.owner_id,
        "thread_metadata": metadata,
        "message_count": 0,
        "total_message_sent": 0,
        "member_count": 1,
    }


def voice_state(directory: Directory, state: VoiceState, *, with_member: bool) -> Json:
    """A voice state; in events it includes guild and member, in a guild's own list it does not (documented)."""
    found: Json = {
        "channel_id": state.channel_id,
        "user_id": state.user_id,
        "session_id": state.session_id,
        "deaf": state.deaf,
        "mute": state.mute,
        "self_deaf": state.self_deaf,
        "self_mute": state.self_mute,
        "self_video": False,
        "suppress": state.suppress,
        "request_to_speak_timestamp": state.asked_to_speak_iso,
    }
    whose = directory.guilds[state.guild_id].members.get(state.user_id)
    return found | {"guild_id": state.guild_id, "member": member(directory, whose)} if with_member and whose else found


def guild(which: Guild) -> Json:
    """A guild as in REST."""
    return {
        "id": which.id,
        "name": which.name,
        "owner_id": which.owner_id,
        "roles": [role(each, position=place) for place, each in enumerate(which.roles.values())],
        "region": "loopback",
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": next((each.id for each in which.channels.values() if each.kind == TEXT), None),
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "safety_alerts_channel_id": None,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "nsfw": False,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": False,
        "preferred_locale": "en-US",
        "application_id": None,
        "vanity_url_code": None,
        "max_presences": None,
        "max_members": 500_000,
        "max_video_channel_users": 25,
        "max_stage_video_channel_users": 50,
        "approximate_member_count": len(which.members),
        **dict.fromkeys(("icon", "icon_hash", "splash", "discovery_splash", "banner", "description"), None),
        **{key: [] for key in ("emojis", "stickers", "features")},
    }


def message(directory: Directory, which: ChatMessage, *, reader_id: str | None = None) -> Json:
    """A message, with the member who wrote it; with `reader_id` None the content is visible to anybody."""
    author = directory.users[which.author_id]
    body = which.body
    found: Json = {
        "id": which.id,
        "type": SLASH_REPLY if which.interaction_id else REPLY if body.get("message_reference") else 0,
        "channel_id": which.channel_id,
        "author": user(author),
        "content": which.content,
        "timestamp": which.created_iso,
        "edited_timestamp": which.edited_iso,
        "tts": bool(body.get("tts")),
        "mention_everyone": False,
        "mentions": [user(directory.users[each]) for each in mentioned(directory, which.content)],
        "mention_roles": [],
        "attachments": body.get("attachments") or [],
        "embeds": [{"type": "rich"} | embed for embed in body.get("embeds") or []],
        "components": body.get("components") or [],
        "pinned": False,
        "flags": which.flags,
    }
    if reader_id is not None and not may_read(found, reader_id):
        found |= {"content": "", "embeds": [], "components": [], "attachments": []}
    if body.get("nonce") is not None:
        found["nonce"] = body["nonce"]
    if body.get("message_reference"):
        found["message_reference"] = {"type": 0, "channel_id": which.channel_id} | body["message_reference"]
    if which.interaction_id:
        found |= {"application_id": which.author_id, "webhook_id": which.author_id}
    return found


def mentioned(directory: Directory, content: str) -> list[str]:
    """The ids of the users mentioned in a text."""
    return [found for found in dict.fromkeys(re.findall(r"<@!?(\d+)>", content)) if found in directory.users]


def may_read(written: Json, reader_id: str) -> bool:
    """Whether a bot without the message content intent sees the content: its own messages and those that mention it."""
    return bool(written["author"]["id"] == reader_id or any(each["id"] == reader_id for each in written["mentions"]))


def application(directory: Directory, who: User) -> Json:
    """The application of a bot; it belongs to the owner of the first guild."""
    owner = next(iter(directory.guilds.values())).owner_id
    return {
        "id": who.id,
        "name": who.name,
        "icon": None,
        "description": "",
        "summary": "",
        "bot": user(who),
        "bot_public": True,
        "bot_require_code_grant": False,
        "owner": user(directory.users[owner]),
        "team": None,
        "verify_key": "0" * 64,
        "flags": PRIVILEGED_FLAGS,
        "install_params": {"scopes": ["bot", "applications.commands"], "permissions": str(BITS["connect"] | BITS["speak"])},
        "integration_types_config": {"0": {}},
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "approximate_guild_count": len(directory.guilds_of(who.id)),
        "tags": [],
    }
