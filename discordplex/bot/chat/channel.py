"""VoiceChannel: a voice channel as the bot sees it: its people, why the bot cannot join, where captions and notices go."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias, TypeVar

import discord
import discord.voice

from discordplex.bot import texts
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.place import Place
from discordplex.bot.rights import may_call, may_talk_in
from discordplex.bot.texts.markdown import LONGEST_NAME
from discordplex.plaintext import one_line

Link = TypeVar("Link", bound=discord.voice.VoiceProtocol[Any])
NEEDED = ("view_channel", "connect", "speak")


class VoiceChannel(Protocol):
    """One voice channel in its current state. All methods: the event loop's thread."""

    @property
    def place(self) -> Place:
        """The guild and channel ids."""
        ...

    @property
    def title(self) -> str:
        """The names of its server and of itself, for the operator."""
        ...

    @property
    def people(self) -> frozenset[int]:
        """The people in it, without bots."""
        ...

    @property
    def callers(self) -> frozenset[int]:
        """The people in it who may call the bot."""
        ...

    @property
    def bots(self) -> frozenset[int]:
        """The bots in it, without this one."""
        ...

    @property
    def suppressed(self) -> bool:
        """Whether the bot is in the audience of this stage and may not speak."""
        ...

    async def ask_to_speak(self, *, take: bool) -> bool:
        """Ask to speak on this stage; with `take`, the bot allows itself if it may. Returns whether a moderator must allow it.

        Raises what py-cord raises.
        """
        ...

    @property
    def may_set_status(self) -> bool:
        """Whether the bot may set the status line while it is in the channel."""
        ...

    async def set_status(self, text: str | None) -> None:
        """Set the status line. Raises what py-cord raises."""
        ...

    def name_of(self, user_id: int) -> str:
        """The displayed name of somebody in it."""
        ...

    def may_name_people(self, channel: Any) -> bool:
        """Whether everybody who can read `channel` can also see who is in this one."""
        ...

    def name_in(self, channel: Any, user_id: int) -> str | None:
        """The name of somebody in it for a notice in `channel`; None if they must not be named there."""
        ...

    @property
    def disclosure_channels(self) -> tuple[Any, ...]:
        """Where the bot may tell people what is done with their words, the best first: its captions channel, its own chat."""
        ...

    def viewers(self, channel: Any) -> frozenset[int]:
        """The people in it who can see `channel`."""
        ...

    def readers(self, channel: Any) -> frozenset[int]:
        """The people in it who can also read the history of `channel`."""
        ...

    @property
    def captions_channel(self) -> Any | None:
        """Where its captions and notices go; None if nowhere, or the bot may not write there."""
        ...

    @property
    def notices_channel(self) -> Any | None:
        """Where its notices go first: the same, or its own chat even if the bot may not join. None with captions off."""
        ...

    @property
    def readers_see_it(self) -> bool:
        """Whether everybody who reads its notices can also see the channel, and so who is in it."""
        ...

    @property
    def spare_channel(self) -> Any | None:
        """Where its notices go if the bot may not write in the first place; None if there is no such channel."""
        ...

    @property
    def server_channel(self) -> Any | None:
        """Where notices to the server's admins go, even with captions off; None if there is no such channel."""
        ...

    @property
    def unwanted(self) -> str | None:
        """Why the rules forbid the bot to talk in it, as a sentence; None if they allow it."""
        ...

    @property
    def closed_to_us(self) -> str | None:
        """Which permission to see or join it is missing, as a sentence; None if none."""
        ...

    def obstacle(self) -> str | None:
        """Why the bot cannot talk in it, as a sentence; None if nothing is known."""
        ...

    async def open_thread(self) -> Any | None:
        """Open a thread for its captions; returns None if the bot may not. Raises what py-cord raises."""
        ...

    async def connect(self, make: Callable[[discord.Client, Any], Link], *, timeout_s: float) -> Link:
        """Join it. Raises what py-cord and `VoiceConnection.connect` raise."""
        ...

    async def move_voice_here(self) -> None:
        """Move the guild's voice connection from another channel into this one."""
        ...


class PycordVoiceChannel:
    """A `VoiceChannel` with py-cord's channel."""

    def __init__(self, channel: discord.VoiceChannel | discord.StageChannel, rules: GuildRules) -> None:
        self._channel = channel
        self._rules = rules

    @property
    def place(self) -> Place:
        """The guild and channel ids."""
        return Place(self._channel.guild.id, self._channel.id)

    @property
    def title(self) -> str:
        """The names of its server and of itself, for the operator."""
        return f"{one_line(self._channel.guild.name, LONGEST_NAME)} / {one_line(self._channel.name, LONGEST_NAME)}"

    @property
    def people(self) -> frozenset[int]:
        """The people in it, without bots."""
        return people_in(self._channel)

    @property
    def callers(self) -> frozenset[int]:
        """The people in it whose roles may call the bot."""
        guild = self._channel.guild
        return frozenset(user_id for user_id in self.people if may_call(self._rules, role_ids(guild, user_id)))

    @property
    def bots(self) -> frozenset[int]:
        """The bots in it, without this one."""
        guild = self._channel.guild
        return frozenset(user_id for user_id in self._channel.voice_states if is_bot(guild, user_id) and user_id != guild.me.id)

    def name_of(self, user_id: int) -> str:
        """The name in this guild as one harmless line; a number if the member is unknown."""
        member = self._channel.guild.get_member(user_id)
        return (one_line(member.display_name, LONGEST_NAME) if member else "") or f"Person {user_id}"

    def may_name_people(self, channel: Any) -> bool:
        """True for its own chat, and for any channel if everybody in the server can see this one."""
        overwrites = self._channel._overwrites  # noqa: SLF001 -- py-cord's `overwrites` leaves out members that it does not know
        hidden = any(overwrite.deny & discord.Permissions.view_channel.flag for overwrite in overwrites)
        everybody = not hidden and self._channel.permissions_for(self._channel.guild.default_role).view_channel
        return bool(everybody or channel.id == self._channel.id)

    def name_in(self, channel: Any, user_id: int) -> str | None:
        """People who cannot read `channel` are not named in it."""
        may = self.may_name_people(channel) and user_id in self._with(channel, "view_channel", (user_id,))
        return self.name_of(user_id) if may else None

    @property
    def disclosure_channels(self) -> tuple[Any, ...]:
        """The same with captions off, because people must be told anyway."""
        own = self._channel if may_write(self._channel) else None
        return tuple(dict.fromkeys(channel for channel in (self.captions_channel, own) if channel is not None))

    def viewers(self, channel: Any) -> frozenset[int]:
        """By their permissions. Unknown members count as unable."""
        return self._with(channel, "view_channel", self.people)

    def readers(self, channel: Any) -> frozenset[int]:
        """By their permissions, too."""
        return self._with(channel, "read_message_history", self.viewers(channel))

    def _with(self, channel: Any, permission: str, user_ids: Iterable[int]) -> frozenset[int]:
        hidden = isinstance(channel, discord.Thread) and channel.is_private()
        needed = (permission, "manage_threads") if hidden else (permission,)  # Discord does not say who else is in a private thread
        members = ((user_id, self._channel.guild.get_member(user_id)) for user_id in user_ids)
        permitted = ((user_id, channel.permissions_for(member)) for user_id, member in members if member)
        return frozenset(user_id for user_id, may in permitted if all(getattr(may, name) for name in needed))

    @property
    def captions_channel(self) -> Any | None:
        """The channel of the setting. For a channel of another guild, the voice channel's own chat."""
        where = self._rules.captions
        if where.where == "off":
            return None
        named = self._channel.guild.get_channel_or_thread(where.channel_id) if where.where == "channel" and where.channel_id else None
        channel = named or self._channel
        return channel if may_write(channel) else None

    @property
    def notices_channel(self) -> Any | None:
        """Where its notices go first: its own chat even if the bot may not join, because people look there."""
        if self._rules.captions.where == "off":
            return None
        chat = self._channel if may_send(self._channel) else None
        return self.captions_channel or chat or self.spare_channel

    @property
    def readers_see_it(self) -> bool:
        """True for its own chat only."""
        channel = self.notices_channel
        return channel is not None and self.may_name_people(channel)

    @property
    def spare_channel(self) -> Any | None:
        """The server's channel, unless captions are off."""
        return None if self._rules.captions.where == "off" else self.server_channel

    @property
    def server_channel(self) -> Any | None:
        """The server's channel for system messages, else its first text channel where the bot may write."""
        return next((channel for channel in self._text_channels if may_write(channel)), None)

    async def open_thread(self) -> Any | None:
        """Open it in the channel of the setting, else in the server's channel for system messages or a text channel."""
        wanted = self._rules.captions.channel_id
        named = self._channel.guild.get_channel(wanted) if wanted else None
        for parent in (named, *self._text_channels):
            if isinstance(parent, discord.TextChannel) and may_open_threads(parent):
                name = f"{one_line(self._channel.name, 60)}, {discord.utils.utcnow():%Y-%m-%d %H:%M} UTC"
                kind = discord.ChannelType.news_thread if parent.is_news() else discord.ChannelType.public_thread
                return await parent.create_thread(name=name, type=kind, auto_archive_duration=60)
        return None

    @property
    def _text_channels(self) -> Iterable[discord.TextChannel]:
        guild = self._channel.guild
        return (channel for channel in (guild.system_channel, *guild.text_channels) if channel)

    @property
    def suppressed(self) -> bool:
        """Whether the bot is in the audience of this stage."""
        state = self._channel.guild.me.voice
        return isinstance(self._channel, discord.StageChannel) and state is not None and state.suppress

    async def ask_to_speak(self, *, take: bool) -> bool:
        """With the permission to let people speak, the bot can allow itself."""
        me = self._channel.guild.me
        if take and self._channel.permissions_for(me).mute_members:
            await me.edit(suppress=False)
            return False
        await me.request_to_speak()
        return True

    @property
    def may_set_status(self) -> bool:
        """Stages have no status line."""
        permitted = self._channel.permissions_for(self._channel.guild.me).set_voice_channel_status
        return self._rules.voice_status and permitted and isinstance(self._channel, discord.VoiceChannel)

    async def set_status(self, text: str | None) -> None:
        """Set the status line."""
        if isinstance(self._channel, discord.VoiceChannel):
            await self._channel.set_status(text)

    @property
    def unwanted(self) -> str | None:
        """By the channel lists of the server and the configuration, and for the AFK channel."""
        if not may_talk_in(self._rules, self._channel.id):
            return texts.waiting.NOT_HERE
        afk = self._channel.guild.afk_channel
        return texts.calls.AFK if afk and afk.id == self._channel.id else None

    @property
    def closed_to_us(self) -> str | None:
        """By the bot's current permissions."""
        may = self._channel.permissions_for(self._channel.guild.me)
        missing = next((name for name in NEEDED[:2] if not getattr(may, name)), None)
        return texts.calls.MISSING_PERMISSION[missing] if missing else None

    def obstacle(self) -> str | None:
        """Why the bot cannot talk in it. Discord itself would not answer if the bot may not join."""
        channel, guild = self._channel, self._channel.guild
        if self.unwanted:
            return self.unwanted
        may = channel.permissions_for(guild.me)
        if isinstance(channel, discord.StageChannel) and not (may.request_to_speak or may.mute_members):
            return texts.waiting.STAGE_CLOSED
        missing = next((name for name in NEEDED if not getattr(may, name)), None)
        if missing:
            return texts.calls.MISSING_PERMISSION[missing]
        inside = [user_id for user_id in channel.voice_states if user_id != guild.me.id]
        if channel.user_limit and len(inside) >= channel.user_limit and not may.move_members:
            return texts.calls.full(channel.user_limit)
        return None

    async def connect(self, make: Callable[[discord.Client, Any], Link], *, timeout_s: float) -> Link:
        """Join it, after removing a leftover connection."""
        stale = self._channel.guild.voice_client
        if stale is not None:
            await stale.disconnect(force=True)
        return await self._channel.connect(cls=make, timeout=timeout_s, reconnect=True)

    async def move_voice_here(self) -> None:
        """Ask Discord to move the bot's voice connection here."""
        await self._channel.guild.change_voice_state(channel=self._channel)


Guild: TypeAlias = discord.Guild


def may_write(channel: Any) -> bool:
    """Whether the bot may write into a channel of any kind. The chat of a voice channel needs the permission to join it."""
    inside = channel.permissions_for(channel.guild.me).connect or not isinstance(channel, discord.VoiceChannel | discord.StageChannel)
    return bool(inside and may_send(channel))


def may_open_threads(channel: discord.TextChannel) -> bool:
    """Whether the bot may open threads in a text channel and write there."""
    may = channel.permissions_for(channel.guild.me)
    return bool(may.view_channel and may.create_public_threads and may.send_messages_in_threads)


def may_send(channel: Any) -> bool:
    """Whether the permissions alone allow the bot to see a channel and write in it."""
    may = channel.permissions_for(channel.guild.me)
    return bool(may.view_channel and may.send_messages and hasattr(channel, "send"))


def people_in(channel: discord.VoiceChannel | discord.StageChannel) -> frozenset[int]:
    """The people in a channel, without bots. An unknown user counts as a person."""
    return frozenset(user_id for user_id in channel.voice_states if not is_bot(channel.guild, user_id))


def is_bot(guild: Guild, user_id: int) -> bool:
    """Whether this member is known to be a bot."""
    member = guild.get_member(user_id)
    return member is not None and member.bot


def people_by_channel(guild: Guild) -> dict[int, frozenset[int]]:
    """The people in each voice channel of a guild, without bots and empty channels."""
    found = {channel.id: people_in(channel) for channel in voice_channels(guild)}
    return {channel_id: people for channel_id, people in found.items() if people}


def voice_channels(guild: Guild) -> Iterable[discord.VoiceChannel | discord.StageChannel]:
    """Every voice and stage channel."""
    return [*guild.voice_channels, *guild.stage_channels]


def closed_channels(guild: Guild, rules: GuildRules) -> frozenset[int]:
    """Channels that the bot never joins by itself: the AFK channel, stages, and those that the rules close."""
    afk = {guild.afk_channel.id} if guild.afk_channel else set()
    elsewhere = {channel.id for channel in voice_channels(guild) if not may_talk_in(rules, channel.id)}
    return frozenset(afk | elsewhere | {stage.id for stage in guild.stage_channels})


def role_ids(guild: Guild, user_id: int) -> frozenset[int]:
    """The roles of a member; none if the member is unknown."""
    member = guild.get_member(user_id)
    return frozenset(role.id for role in member.roles) if member else frozenset()


def unknown_members(guild: Guild) -> list[int]:
    """Unknown users in voice channels: Discord's first message about a guild has only their ids, and does not say who is a bot."""
    present = {user_id for channel in voice_channels(guild) for user_id in channel.voice_states}
    return sorted(user_id for user_id in present if guild.get_member(user_id) is None)
