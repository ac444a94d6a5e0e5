"""REST routes of channels, messages and threads. Pure: they change or read the world."""

from typing import Any

from discordplex.loopback.discord.rest.api import ApiCall, Table
from discordplex.loopback.discord.rest.errors import ApiError, Json, invalid_form, missing_access, missing_permissions
from discordplex.loopback.discord.world import payloads
from discordplex.loopback.discord.world.model import (
    ANNOUNCEMENT,
    ANNOUNCEMENT_THREAD,
    MESSAGE_LIMIT_CHARS,
    THREAD,
    Channel,
    Typing,
    VoiceStatusChanged,
)
from discordplex.loopback.discord.world.permissions import Overwrite

table = Table()

STATUS_LIMIT_CHARS = 500
"""Longest status of a voice channel (documented)."""

WRITES = "writes"
"""The bucket that creating and editing messages share, per channel."""


def check_content(body: Json) -> Json:
    """A message's body as it may be posted; raises the 400 for one that is empty, too long or no object."""
    if not isinstance(body, dict):
        raise invalid_form("content", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    content = body.get("content")
    if content is not None and len(str(content)) > MESSAGE_LIMIT_CHARS:
        raise invalid_form("content", "BASE_TYPE_MAX_LENGTH", f"Must be {MESSAGE_LIMIT_CHARS} or fewer in length.")
    return body


def check_not_empty(body: Json) -> Json:
    """The same for a new message, which must not be empty."""
    check_content(body)
    if not any(body.get(key) for key in ("content", "embeds", "components", "attachments", "sticker_ids", "poll")):
        raise ApiError(400, 50006, "Cannot send an empty message")
    return body


def writable(call: ApiCall) -> Channel:
    """The channel of the path, if the user may write there."""
    channel = call.open_channel()
    call.need(channel, "send_messages_in_threads" if channel.is_thread else "send_messages")
    return channel


def channel_json(call: ApiCall, channel: Channel) -> Json:
    """A channel with its newest message's id."""
    messages = call.world.chat.of(channel.id)
    return payloads.channel(channel, last_message_id=messages[-1].id if messages else None)


@table.route("GET", "/channels/{channel}")
def get_channel(call: ApiCall) -> Any:
    """One channel."""
    return channel_json(call, call.channel())


@table.route("PATCH", "/channels/{channel}")
def edit_channel(call: ApiCall) -> Any:
    """Change name and user limit of a channel."""
    channel = call.open_channel()
    call.need(channel, "manage_channels")
    channel.name = str(call.body.get("name", channel.name))
    channel.user_limit = int(call.body.get("user_limit", channel.user_limit))
    call.world.touch(channel)
    return channel_json(call, channel)


@table.route("PUT", "/channels/{channel}/permissions/{target}")
def put_overwrite(call: ApiCall) -> Any:
    """Set what a role or a member is allowed and denied in a channel."""
    channel = call.open_channel()
    call.need(channel, "manage_channels")
    allow, deny = int(call.body.get("allow") or 0), int(call.body.get("deny") or 0)
    channel.overwrites[call.path["target"]] = Overwrite(call.path["target"], int(call.body["type"]), allow, deny)
    call.world.touch(channel)


@table.route("PUT", "/channels/{channel}/voice-status")
def put_voice_status(call: ApiCall) -> Any:
    """Set a voice channel's status: from inside with the permission, or with Manage Channels."""
    channel = call.open_channel()
    inside = call.user.id in call.world.users_in(channel.id) and call.world.may(call.user.id, channel, "set_voice_channel_status")
    if not inside and not call.world.may(call.user.id, channel, "manage_channels"):
        raise missing_permissions()
    status = call.body.get("status")
    if status and len(status) > STATUS_LIMIT_CHARS:
        raise invalid_form("status", "BASE_TYPE_MAX_LENGTH", f"Must be {STATUS_LIMIT_CHARS} or fewer in length.")
    channel.status = status or None
    call.world.tell(VoiceStatusChanged(channel))


@table.route("POST", "/channels/{channel}/typing")
def post_typing(call: ApiCall) -> Any:
    """Show that the caller is typing."""
    call.world.tell(Typing(writable(call).id, call.user.id))


@table.route("GET", "/channels/{channel}/messages")
def get_messages(call: ApiCall) -> Any:
    """The newest messages of a channel, the newest first; none without the permission to read its history."""
    channel = call.open_channel()
    if not call.world.may(call.user.id, channel, "read_message_history"):
        return []
    found = [message for message in call.world.chat.of(channel.id) if message.deleted_at_s is None]
    if call.query.get("before"):
        found = [message for message in found if int(message.id) < int(call.query["before"])]
    if call.query.get("after"):
        found = [message for message in found if int(message.id) > int(call.query["after"])]
    limit = min(int(call.query.get("limit", 50)), 100)
    chosen = found[:limit] if call.query.get("after") else found[-limit:]
    return [payloads.message(call.world, message) for message in reversed(chosen)]


@table.route("GET", "/channels/{channel}/messages/{message}")
def get_message(call: ApiCall) -> Any:
    """One message."""
    return payloads.message(call.world, call.message())


@table.route("POST", "/channels/{channel}/messages", bucket=WRITES)
def post_message(call: ApiCall) -> Any:
    """Write a message."""
    channel = writable(call)
    return payloads.message(call.world, call.world.chat.post(channel.id, call.user.id, check_not_empty(call.body)))


@table.route("PATCH", "/channels/{channel}/messages/{message}", bucket=WRITES)
def patch_message(call: ApiCall) -> Any:
    """Edit one's own message."""
    message = call.message()
    if message.author_id != call.user.id:
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    call.world.chat.edit(message, check_content(call.body))
    return payloads.message(call.world, message)


@table.route("DELETE", "/channels/{channel}/messages/{message}")
def delete_message(call: ApiCall) -> Any:
    """Delete one's own message, or anybody's with the permission."""
    message = call.message()
    if message.author_id != call.user.id:
        call.need(call.open_channel(), "manage_messages")
    call.world.chat.delete(message)


@table.route("POST", "/channels/{channel}/messages/bulk-delete")
def bulk_delete(call: ApiCall) -> Any:
    """Delete several messages."""
    channel = call.open_channel()
    call.need(channel, "manage_messages")
    for message_id in call.body["messages"]:
        message = call.world.chat.find(channel.id, str(message_id))
        if message:
            call.world.chat.delete(message)


@table.route("PUT", "/channels/{channel}/messages/{message}/reactions/{emoji}/@me")
@table.route("DELETE", "/channels/{channel}/messages/{message}/reactions/{emoji}/@me")
def react(call: ApiCall) -> Any:
    """Accepted; reactions are not shown."""
    call.need(call.open_channel(), "add_reactions")
    call.message()


@table.route("POST", "/channels/{channel}/threads")
@table.route("POST", "/channels/{channel}/messages/{message}/threads")
def start_thread(call: ApiCall) -> Any:
    """A new public thread; one that starts from a message has that message's id. Announcement channels have a kind of their own."""
    parent = call.open_channel()
    if parent.is_voice or parent.is_thread:
        raise missing_access()
    call.need(parent, "create_public_threads")
    start = call.message().id if "message" in call.path else None
    name, user_id = str(call.body["name"]), call.user.id
    kind = ANNOUNCEMENT_THREAD if parent.kind == ANNOUNCEMENT else THREAD
    if start is None and call.body.get("type") != kind:
        raise ApiError(400, 50024, "Cannot execute action on this channel type")
    thread = call.world.add_channel(parent.guild_id, name, kind, channel_id=start, parent_id=parent.id, owner_id=user_id)
    return channel_json(call, thread)


@table.route("PUT", "/channels/{channel}/thread-members/{member}")
@table.route("DELETE", "/channels/{channel}/thread-members/{member}")
def thread_member(call: ApiCall) -> Any:
    """Accepted; everybody who sees the parent channel is in the thread."""
    call.open_channel()
