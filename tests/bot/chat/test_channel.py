"""A voice channel as the bot sees it: who can read what is written in another channel."""

from types import SimpleNamespace
from typing import Any, cast

import discord
import pytest

from discordplex.bot.chat.channel import PycordVoiceChannel
from discordplex.bot.rules import Rules

READER, MODERATOR, BLIND = 1, 2, 3


@pytest.mark.parametrize(
    ("kind", "seen_by"),
    [
        (discord.ChannelType.public_thread, {READER, MODERATOR}),
        (discord.ChannelType.news_thread, {READER, MODERATOR}),
        (discord.ChannelType.private_thread, {MODERATOR}),
    ],
)
def test_a_private_thread_is_not_seen_by_everybody_who_sees_its_channel(kind: discord.ChannelType, seen_by: set[int]) -> None:
    """`bot.captions` may name a thread. Discord shows a private one to those who were added, and to who may manage threads."""
    may = {
        READER: discord.Permissions(view_channel=True, read_message_history=True),
        MODERATOR: discord.Permissions(view_channel=True, read_message_history=True, manage_threads=True),
        BLIND: discord.Permissions(manage_threads=True),
    }
    members = {user_id: SimpleNamespace(bot=False, id=user_id) for user_id in may}
    parent = SimpleNamespace(permissions_for=lambda member: may[member.id])
    guild = SimpleNamespace(get_member=members.get, get_channel=lambda _: parent)
    voice_channel = PycordVoiceChannel(cast("Any", SimpleNamespace(guild=guild, voice_states=dict.fromkeys(members))), Rules())
    thread = discord.Thread.__new__(discord.Thread)
    thread.guild, thread.parent_id, thread._type = cast("Any", guild), 9, cast("Any", kind)
    assert voice_channel.viewers(thread) == voice_channel.readers(thread) == seen_by
