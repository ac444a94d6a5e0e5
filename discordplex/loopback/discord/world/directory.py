"""Directory: users, guilds, channels and permissions, and a stream of facts about changes. Pure: it only reads the clock."""

import base64
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

from discordplex.clock import Clock
from discordplex.loopback.discord.world.model import (
    Channel,
    ChannelChanged,
    Fact,
    Guild,
    GuildMember,
    MemberChanged,
    Noted,
    Role,
    RoleChanged,
    User,
)
from discordplex.loopback.discord.world.permissions import ALL, EVERYONE, MEMBER, ROLE, Overwrite, bit, in_channel

DISCORD_EPOCH_MS = 1_420_070_400_000
"""Snowflakes count milliseconds from 2015 on (documented)."""


class Directory:
    """Users, guilds, channels, roles and permissions, with one stream of facts for all listeners."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.users: dict[str, User] = {}
        self.guilds: dict[str, Guild] = {}
        self.commands: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
        """Registered commands by (application id, guild id or None for global)."""
        self._listeners: list[Callable[[Fact], None]] = []
        self._serial = 0
        self._wall_offset_s = time.time() - clock.now()

    # Facts

    def subscribe(self, listener: Callable[[Fact], None]) -> Callable[[], None]:
        """Call `listener` with each fact, at once and in order, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, fact: Fact) -> None:
        """Pass one fact to all listeners."""
        for listener in list(self._listeners):
            listener(fact)

    def note(self, what: str) -> None:
        """Report something that is no Discord event, so that waiting code checks again."""
        self.tell(Noted(what))

    # Ids and times

    def snowflake(self) -> str:
        """A new id: the wall clock's milliseconds and a serial number, so that ids rise with time."""
        self._serial += 1
        ms = int(self.unix_now_s() * 1000) - DISCORD_EPOCH_MS
        return str(ms << 22 | self._serial & 0x3FFFFF)

    def unix_now_s(self) -> float:
        """Now, in seconds since 1970."""
        return self._wall_offset_s + self.clock.now()

    def iso_now(self) -> str:
        """Now, as Discord writes times."""
        return datetime.fromtimestamp(self.unix_now_s(), tz=timezone.utc).isoformat()

    # People, bots, guilds

    def add_user(self, name: str, *, bot: bool, user_id: str | None = None) -> User:
        """A new account. Its token has the format of a real one (some libraries read the id in it) and is the same in each run."""
        user_id = user_id or self.snowflake()
        head = base64.urlsafe_b64encode(user_id.encode()).decode().rstrip("=")
        user = User(user_id, name, f"{head}.loopbk.{name}-token-of-the-loopback", bot)
        self.users[user_id] = user
        return user

    def add_guild(self, name: str, *, owner_id: str, guild_id: str | None = None) -> Guild:
        """A new guild with its @everyone role and its owner as member."""
        guild_id = guild_id or self.snowflake()
        everyone = Role(guild_id, "@everyone", EVERYONE)
        guild = Guild(guild_id, name, owner_id, {guild_id: everyone}, {owner_id: GuildMember(owner_id)}, {})
        self.guilds[guild_id] = guild
        return guild

    def add_member(self, guild_id: str, user_id: str) -> GuildMember:
        """Add a user to a guild."""
        return self.guilds[guild_id].members.setdefault(user_id, GuildMember(user_id))

    def add_role(self, guild_id: str, name: str, permissions: int, *, role_id: str | None = None) -> Role:
        """A new role in a guild."""
        role = Role(role_id or self.snowflake(), name, permissions)
        self.guilds[guild_id].roles[role.id] = role
        return role

    def set_role(self, guild_id: str, role_id: str, permissions: int) -> None:
        """Set the permissions that a role grants."""
        role = self.guilds[guild_id].roles[role_id]
        role.permissions = permissions
        self.tell(RoleChanged(guild_id, role))

    def give_roles(self, guild_id: str, user_id: str, role_ids: Iterable[str]) -> None:
        """Give a member exactly these roles, besides @everyone."""
        member = self.guilds[guild_id].members[user_id]
        member.role_ids = [*role_ids]
        self.tell(MemberChanged(guild_id, member))

    def add_channel(
        self,
        guild_id: str,
        name: str,
        kind: int,
        *,
        channel_id: str | None = None,
        parent_id: str | None = None,
        owner_id: str | None = None,
    ) -> Channel:
        """A new channel, or a thread where `parent_id` names its channel; everybody in the guild is told."""
        guild = self.guilds[guild_id]
        channel = Channel(channel_id or self.snowflake(), guild_id, name, kind, len(guild.channels), parent_id=parent_id, owner_id=owner_id)
        guild.channels[channel.id] = channel
        self.tell(ChannelChanged(channel, created=True))
        return channel

    def touch(self, channel: Channel) -> None:
        """Report that a channel was changed."""
        self.tell(ChannelChanged(channel))

    def channel(self, channel_id: str) -> Channel | None:
        """The channel or thread of that id in any guild."""
        return next((guild.channels[channel_id] for guild in self.guilds.values() if channel_id in guild.channels), None)

    def guilds_of(self, user_id: str) -> list[Guild]:
        """The guilds that a user is in."""
        return [guild for guild in self.guilds.values() if user_id in guild.members]

    def user_of_token(self, token: str) -> User | None:
        """The owner of a token; the prefix `Bot ` is allowed."""
        bare = token.removeprefix("Bot ").removeprefix("Bearer ").strip()
        return next((user for user in self.users.values() if user.token == bare), None)

    # Permissions

    def permissions(self, user_id: str, channel: Channel) -> int:
        """A user's permissions in a channel; a thread has its parent's overwrites. None for users outside the guild."""
        guild = self.guilds[channel.guild_id]
        member = guild.members.get(user_id)
        if member is None:
            return 0
        parent = guild.channels.get(channel.parent_id or "", channel)
        base = ALL if user_id == guild.owner_id else self.guild_permissions(user_id, guild)
        return in_channel(base=base, everyone_id=guild.id, role_ids=member.role_ids, member_id=user_id, overwrites=parent.overwrites)

    @staticmethod
    def guild_permissions(user_id: str, guild: Guild) -> int:
        """What the roles of a member grant together, before any channel's overwrites."""
        found = guild.roles[guild.id].permissions
        for role_id in guild.members[user_id].role_ids:
            found |= guild.roles[role_id].permissions
        return found

    def may_in_guild(self, user_id: str, guild: Guild, permission: str) -> bool:
        """Whether a member has one permission in the guild as a whole."""
        granted = self.guild_permissions(user_id, guild)
        return user_id == guild.owner_id or bool(granted & (bit(permission) | bit("administrator")))

    def may(self, user_id: str, channel: Channel, permission: str | int) -> bool:
        """Whether a user has one permission in a channel."""
        wanted = bit(permission)
        return self.permissions(user_id, channel) & wanted == wanted

    def overwrite(self, channel: Channel, target_id: str, *, allow: int = 0, deny: int = 0) -> None:
        """Set what a role or a member is allowed and denied in a channel; bits that are in neither stay as they are."""
        kind = ROLE if target_id in self.guilds[channel.guild_id].roles else MEMBER
        entry = channel.overwrites.setdefault(target_id, Overwrite(target_id, kind))
        entry.allow = (entry.allow & ~deny) | allow
        entry.deny = (entry.deny & ~allow) | deny
        self.touch(channel)
