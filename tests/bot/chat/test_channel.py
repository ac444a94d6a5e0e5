"""A voice channel as the bot sees it: who can read what is written in another channel."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import discord
import pytest

from discordplex.bot import texts
from discordplex.bot.chat.channel import PycordVoiceChannel
from discordplex.bot.guild_rules import GuildRules
from discordplex.config import BotConfig
from discordplex.loopback.discord.world.model import TEXT
from discordplex.store.store import open_store
from tests.home import Home

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
    voice_channel = PycordVoiceChannel(cast("Any", SimpleNamespace(guild=guild, voice_states=dict.fromkeys(members))), GuildRules())
    thread = discord.Thread.__new__(discord.Thread)
    thread.guild, thread.parent_id, thread._type = cast("Any", guild), 9, cast("Any", kind)
    assert voice_channel.viewers(thread) == voice_channel.readers(thread) == seen_by


@pytest.mark.parametrize(
    ("closed", "right", "told_in"),
    [
        ((), "view_channel", "system"),
        (("system",), "view_channel", "first"),
        (("system", "first"), "send_messages", "second"),
        (("system", "first", "second"), "send_messages", None),
    ],
)
async def test_admins_are_told_in_the_servers_channel(
    home: Home, tmp_path: Path, closed: tuple[str, ...], right: str, told_in: str | None
) -> None:
    """That of its system messages, else its first text channel that is open to us. Here: nothing is recorded, since nobody can be told."""
    world, system = home.discord.world, home.guild.text_channel
    first, second = (world.add_channel(home.guild.id, name, TEXT) for name in ("first", "second"))
    system.position, first.position, second.position = 3, 1, 2
    channels = {"system": system, "first": first, "second": second}
    home.discord.deny(home.guild, home.lounge, home.bot, "send_messages")
    for name in closed:
        home.discord.deny(home.guild, channels[name], home.bot, right)
    home.store_url = f"sqlite:///{tmp_path}/settings.db"
    async with open_store(home.store_url) as store:
        await store.guilds.change(int(home.guild.id), lambda now: replace(now, transcripts=True))
    async with home.bot_running(home.config(bot=BotConfig(captions="off"))):
        home.discord.enter(home.ada, home.lounge)
        await home.discord.wait_for(lambda: home.lounge.status == "listening")
        if told_in:
            await home.says(channels[told_in], texts.settings.FOR_ADMINS)
    said = {name: home.texts(channel) for name, channel in channels.items()}
    assert said == {name: [texts.settings.FOR_ADMINS] if name == told_in else [] for name in channels}
    assert home.texts(home.lounge) == []
