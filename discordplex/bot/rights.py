"""Rights: who may call the bot, where it talks, who may use which command, and how often. Pure.

`RIGHTS` and `LIMITS` are the whole policy: they list every slash command, prefix command and button. Anything else is refused.
`docs/using.md` shows the same table; a test compares both with what the bot registers.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from discordplex.bot.cooldowns import Rate
from discordplex.bot.guild_rules import GuildRules

# Lists of channels and roles: a denial takes precedence, and an empty list of allowed ones allows everything.


def may_talk_in(rules: GuildRules, channel_id: int) -> bool:
    """Whether the bot may talk in this channel at all."""
    return channel_id not in rules.deny_channels and (not rules.allow_channels or channel_id in rules.allow_channels)


def may_call(rules: GuildRules, role_ids: Collection[int]) -> bool:
    """Whether a member with these roles may call the bot. Every member also has the role with the guild's id."""
    held = frozenset(role_ids)
    return not held & rules.deny_roles and (not rules.allow_roles or bool(held & rules.allow_roles))


# Who may do what


class Right(Enum):
    """Who may use a command or button. The value is the name in docs/using.md."""

    EVERYBODY = "everybody"
    OWN = "everybody, for themselves"
    CALLER = "people in a voice channel who may call the bot"
    CALL = "people in the call's voice channel, and its moderators"
    QUEUE = "people in the voice channel that waits, and its moderators"
    ADMIN = "members with *Manage Server*"


MODERATING: Final = ("move_members", "manage_channels", "manage_guild", "administrator")
"""Any of these permissions in a voice channel makes a member its moderator."""


@dataclass(frozen=True, slots=True)
class MemberRights:
    """The rights of one person in a guild."""

    channel_id: int | None
    """The voice channel that they are in."""
    moderates: frozenset[int]
    """The voice channels that they moderate, of those in question."""
    admin: bool
    """Whether they have Manage Server."""

    def may_change(self, channel_id: int) -> bool:
        """Whether they may change the call in this channel, or its place in the queue."""
        return channel_id == self.channel_id or channel_id in self.moderates


def may_use(right: Right, who: MemberRights, *, call: int | None, waiting: Collection[int]) -> bool:
    """Whether somebody may use a command with this right.

    `call` is the channel of the guild's call, or None. `waiting` are its channels in the queue, or whose call is tried again. If there is
    nothing to change, anybody may use the command, and its answer says so.
    """
    if right is Right.ADMIN:
        return who.admin
    if right in (Right.CALL, Right.QUEUE):
        concerned = [call] if call is not None and right is Right.CALL else waiting
        return not concerned or any(who.may_change(channel_id) for channel_id in concerned)
    return True  # also CALLER: the command itself answers people who are in no channel or may not call


RIGHTS: Final[Mapping[str, Right]] = {
    "/status": Right.EVERYBODY,
    "/queue": Right.EVERYBODY,
    "/latency": Right.EVERYBODY,
    "/persona list": Right.EVERYBODY,
    "/persona export": Right.EVERYBODY,
    "/persona export server": Right.EVERYBODY,
    "/voice": Right.OWN,
    "/persona show": Right.OWN,
    "/persona set": Right.OWN,
    "/persona reset": Right.OWN,
    "/persona save": Right.OWN,
    "/persona delete": Right.OWN,
    "/persona import": Right.OWN,
    "/privacy": Right.OWN,
    "*Don't listen to me*": Right.OWN,
    "*Listen to me again*": Right.OWN,
    "*Delete what is stored about me*": Right.OWN,
    "/join": Right.CALLER,
    "!join": Right.CALLER,
    "/leave": Right.CALL,
    "!leave": Right.CALL,
    "/stop": Right.CALL,
    "!stop": Right.CALL,
    "/listen": Right.CALL,
    "!listen": Right.CALL,
    "/reset": Right.CALL,
    "*Change now*": Right.CALL,
    "/queue leave": Right.QUEUE,
    "/persona save server": Right.ADMIN,
    "/persona delete server": Right.ADMIN,
    "/persona import server": Right.ADMIN,
    "/settings show": Right.ADMIN,
    "/settings captions": Right.ADMIN,
    "/settings captions-of-people": Right.ADMIN,
    "/settings persona": Right.ADMIN,
    "/settings channel": Right.ADMIN,
    "/settings role": Right.ADMIN,
    "/settings limits": Right.ADMIN,
    "/settings transcripts": Right.ADMIN,
    "/settings transcript": Right.ADMIN,
    "/settings forget-transcripts": Right.ADMIN,
    "/settings reset": Right.ADMIN,
    "/notes": Right.ADMIN,
    "*Delete these notes*": Right.ADMIN,
}
"""Commands by their whole name, with an option that has its own right; prefix commands with `!`; buttons by their label."""


JOINING: Final = frozenset({"/listen", "!listen"})
"""Commands that work like `/join` if the guild has no call."""


def right_to(use: str, call: int | None) -> Right | None:
    """The right for a command when the guild's call is in the channel `call` (or None); None if nobody may use it."""
    return Right.CALLER if use in JOINING and call is None else RIGHTS.get(use)


# How often


@dataclass(frozen=True, slots=True)
class UseLimit:
    """How often something may be used, by one person in all guilds, and by all people of a guild together."""

    kind: str
    """Uses of the same kind count together."""
    person: Rate
    guild: Rate


CALLING: Final = UseLimit("calling", person=Rate(5, 12.0), guild=Rate(10, 6.0))
REOPENING: Final = UseLimit("reopening", person=Rate(3, 20.0), guild=Rate(6, 10.0))
SAVING: Final = UseLimit("saving", person=Rate(5, 12.0), guild=Rate(20, 3.0))
POSTING: Final = UseLimit("posting", person=Rate(6, 10.0), guild=Rate(6, 10.0))
ANSWERING: Final = UseLimit("answering", person=Rate(8, 10.0), guild=Rate(16, 5.0))
"""Answers to prefix commands, which everybody can read."""

LIMITS: Final[Mapping[str, UseLimit]] = {
    **dict.fromkeys(("/join", "!join", "/listen", "!listen"), CALLING),
    **dict.fromkeys(("/reset", "*Change now*"), REOPENING),
    **dict.fromkeys(("/persona import", "/persona import server", "/persona save", "/persona save server"), SAVING),
    **dict.fromkeys(("/settings transcripts", "/settings captions-of-people", "/settings captions", "/notes"), POSTING),
}
"""Commands that join a channel, open an engine, save or post. `/leave`, `/stop` and everything about privacy have no limit: to use them
again with an effect, somebody must use one of these first."""
