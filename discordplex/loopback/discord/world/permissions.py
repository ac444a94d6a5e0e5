"""Permission bits, and permissions in a channel. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BITS: Mapping[str, int] = {
    "manage_channels": 1 << 4,
    "administrator": 1 << 3,
    "manage_guild": 1 << 5,
    "add_reactions": 1 << 6,
    "priority_speaker": 1 << 8,
    "stream": 1 << 9,
    "view_channel": 1 << 10,
    "send_messages": 1 << 11,
    "manage_messages": 1 << 13,
    "embed_links": 1 << 14,
    "attach_files": 1 << 15,
    "read_message_history": 1 << 16,
    "mention_everyone": 1 << 17,
    "use_external_emojis": 1 << 18,
    "connect": 1 << 20,
    "speak": 1 << 21,
    "mute_members": 1 << 22,
    "deafen_members": 1 << 23,
    "move_members": 1 << 24,
    "use_vad": 1 << 25,
    "change_nickname": 1 << 26,
    "manage_webhooks": 1 << 29,
    "use_application_commands": 1 << 31,
    "request_to_speak": 1 << 32,
    "manage_threads": 1 << 34,
    "create_public_threads": 1 << 35,
    "send_messages_in_threads": 1 << 38,
    "use_soundboard": 1 << 42,
    "set_voice_channel_status": 1 << 48,
}
"""The names that Discord's documentation and py-cord use, in lower case."""

ALL = (1 << 53) - 1
EVERYONE = sum(
    BITS[name]
    for name in (
        "add_reactions",
        "stream",
        "view_channel",
        "send_messages",
        "embed_links",
        "attach_files",
        "read_message_history",
        "use_external_emojis",
        "connect",
        "speak",
        "use_vad",
        "change_nickname",
        "use_application_commands",
        "create_public_threads",
        "send_messages_in_threads",
        "use_soundboard",
        "set_voice_channel_status",
    )
)
"""The permissions of @everyone in a new guild: Discord's default, and the voice channel's status."""

ROLE, MEMBER = 0, 1


@dataclass(slots=True)
class Overwrite:
    """What one role (kind 0) or one member (kind 1) is allowed and denied in one channel."""

    target_id: str
    kind: int
    allow: int = 0
    deny: int = 0


def bit(permission: str | int) -> int:
    """The bit of a permission's name; raises KeyError listing the names. A number is returned as it is."""
    if isinstance(permission, int):
        return permission
    if permission not in BITS:
        raise KeyError(f"no permission {permission!r}; there are {', '.join(BITS)}")
    return BITS[permission]


def in_channel(*, base: int, everyone_id: str, role_ids: Iterable[str], member_id: str, overwrites: Mapping[str, Overwrite]) -> int:
    """The permissions in a channel, in the documented order: @everyone's overwrite, all roles' together, the member's own.

    Args:
        base: what the guild's roles grant together; an administrator (or `ALL`, for the owner) is not subject to overwrites.
        everyone_id: the guild's id, which is also the id of its @everyone role.
        role_ids: the member's other roles.
        member_id: the user.
        overwrites: the channel's, by target.
    """
    if base & BITS["administrator"]:
        return ALL
    found = _applied(base, [overwrites[everyone_id]] if everyone_id in overwrites else [])
    found = _applied(found, [overwrites[role_id] for role_id in role_ids if role_id in overwrites])
    found = _applied(found, [overwrites[member_id]] if member_id in overwrites else [])
    return found if found & BITS["view_channel"] else 0


def _applied(permissions: int, overwrites: Iterable[Overwrite]) -> int:
    allow = deny = 0
    for overwrite in overwrites:
        allow |= overwrite.allow
        deny |= overwrite.deny
    return (permissions & ~deny) | allow
