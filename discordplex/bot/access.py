"""Who may call the bot, where it talks, and who may do what to a call. Pure.

`RIGHTS` and `RATES` are the whole policy: every slash command, written command and button stands there, and what does not is refused.
`docs/using.md` shows the same table, and a test holds both against what the bot registers.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from discordplex.bot.cooldowns import Rate
from discordplex.bot.rules import Rules

# Lists of channels and roles: a denial goes before a permission, and an empty list permits everything.


def may_talk_in(rules: Rules, channel_id: int) -> bool:
    """Whether the bot talks in this channel, by itself or by anybody's wish."""
    return channel_id not in rules.deny_channels and (not rules.allow_channels or channel_id in rules.allow_channels)


def may_call(rules: Rules, role_ids: Collection[int]) -> bool:
    """Whether the bot comes for somebody with these roles. Every member has the role whose id is the guild's."""
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
"""Permissions in a voice channel, each of which makes somebody its moderator."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one person is in a guild."""

    sits_in: int | None
    """The voice channel in which they sit."""
    moderates: frozenset[int]
    """The voice channels, of those that are asked about, that they moderate."""
    admin: bool
    """Whether they have Manage Server."""

    def has_a_say_in(self, channel_id: int) -> bool:
        """Whether they may change the call in this channel, or its place in the queue."""
        return channel_id == self.sits_in or channel_id in self.moderates


def may_use(right: Right, who: Standing, *, call: int | None, waiting: Collection[int]) -> bool:
    """Whether somebody may use what asks for this right.

    `call` is the channel of the guild's call, None where it has none; `waiting` are its channels in the queue, or whose call is tried
    again. Where there is nothing to change, anybody may ask and is told so.
    """
    if right is Right.ADMIN:
        return who.admin
    if right in (Right.CALL, Right.QUEUE):
        concerned = [call] if call is not None and right is Right.CALL else waiting
        return not concerned or any(who.has_a_say_in(channel_id) for channel_id in concerned)
    return True  # CALLER included: whoever sits nowhere, or may not call, is told so by the command itself


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
}
"""Commands by their whole name, a switch of theirs after it; written commands with `!`; buttons by what stands on them."""


JOINING: Final = frozenset({"/listen", "!listen"})
"""What calls the bot, as `/join` does, where the guild has no call."""


def right_to(use: str, call: int | None) -> Right | None:
    """What is asked of who uses this where the guild's call is in the channel `call` (None: it has none); None where nobody may."""
    return Right.CALLER if use in JOINING and call is None else RIGHTS.get(use)


# How often


@dataclass(frozen=True, slots=True)
class UseLimit:
    """How often something may be used, by one person anywhere and by all of one guild together."""

    kind: str
    """Uses of one kind count together."""
    person: Rate
    guild: Rate


CALLING: Final = UseLimit("calling", person=Rate(5, 12.0), guild=Rate(10, 6.0))
REOPENING: Final = UseLimit("reopening", person=Rate(3, 20.0), guild=Rate(6, 10.0))
SAVING: Final = UseLimit("saving", person=Rate(5, 12.0), guild=Rate(20, 3.0))
POSTING: Final = UseLimit("posting", person=Rate(6, 10.0), guild=Rate(6, 10.0))
ANSWERING: Final = UseLimit("answering", person=Rate(8, 10.0), guild=Rate(16, 5.0))
"""Answers to written commands, which everybody reads."""

LIMITS: Final[Mapping[str, UseLimit]] = {
    **dict.fromkeys(("/join", "!join", "/listen", "!listen"), CALLING),
    **dict.fromkeys(("/reset", "*Change now*"), REOPENING),
    **dict.fromkeys(("/persona import", "/persona import server", "/persona save", "/persona save server"), SAVING),
    **dict.fromkeys(("/settings transcripts", "/settings captions-of-people", "/settings captions"), POSTING),
}
"""What joins a channel, opens an engine, writes or posts again. `/leave`, `/stop` and everything about privacy are never refused for being
asked too often: what follows them needs one of these first."""
