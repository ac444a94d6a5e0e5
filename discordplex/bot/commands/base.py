"""What slash commands, buttons and prefix commands share: services, rights, answers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import discord
import structlog

from discordplex.bot import texts
from discordplex.bot.call.interface import AnyCall
from discordplex.bot.commands.reply import CommandContext
from discordplex.bot.cooldowns import Cooldowns
from discordplex.bot.place import Place
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.bot.rights import LIMITS, MODERATING, MemberRights, Right, UseLimit, may_use, right_to
from discordplex.bot.settings.personas import PersonaCatalog
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.clock import Clock
from discordplex.errors import DiscordplexError, RefusedError

log = structlog.get_logger()

IN_GUILDS = {discord.InteractionContextType.guild}

NOT_THEIRS: Final[Mapping[Right, str]] = {
    Right.ADMIN: texts.waiting.ADMINS_ONLY,
    Right.CALL: texts.waiting.NOT_YOUR_CALL,
    Right.QUEUE: texts.waiting.NOT_YOUR_PLACE,
}
"""The answer to somebody without the right."""

Command = TypeVar("Command", bound=Callable[..., Any])


class CallControl(Protocol):
    """What commands need from the scheduler; `scheduling.dispatcher` implements it."""

    async def join(self, place: Place, asker: int | None = None) -> str:
        """Join a channel, for this person; returns the answer."""
        ...

    async def leave(self, guild_id: int, name: str, channels: Collection[int]) -> str:
        """Leave these channels, for a person of this name; returns the answer."""
        ...

    def status(self, guild_id: int) -> texts.calls.Status:
        """The status of a guild."""
        ...

    def queue_lines(self, guild_id: int) -> Sequence[str]:
        """A sentence for each channel of the guild that waits, with the expected wait."""
        ...

    def leave_queue(self, guild_id: int, channels: Collection[int]) -> str:
        """Take these channels out of the queue; returns the answer."""
        ...

    def waiting(self, guild_id: int) -> Collection[int]:
        """The guild's channels that wait, or whose call is tried again."""
        ...

    def call(self, guild_id: int) -> AnyCall | None:
        """The guild's call; None if it has none."""
        ...


@dataclass(frozen=True, slots=True)
class CommandServices:
    """The services that commands use."""

    calls: CallControl
    preferences: StoredPreferences
    personas: PersonaCatalog
    voices: tuple[str, ...]
    """The engine's voices; empty if it takes any."""
    recording_policy: Callable[[int], RecordingPolicy]
    """What is done in a guild with what people say, in the running call or the next one."""
    handling: Callable[[], AbstractContextManager[None]]
    """A context for work that the end of the client waits for."""
    clock: Clock
    used: Cooldowns = field(default_factory=Cooldowns)
    """How often people and guilds have used limited commands."""

    def admit(self, use: str, guild_id: int, member: Any) -> None:
        """Check and count the use of a command, by its name in `access.RIGHTS`. Raises RefusedError if it is not allowed, or too soon."""
        call, waiting = self.calls.call(guild_id), self.calls.waiting(guild_id)
        channel_id = call.voice_channel.place.channel_id if call else None
        right = right_to(use, channel_id)
        if right is None:
            raise RefusedError(texts.waiting.NOT_KNOWN)
        concerned = [*waiting] if channel_id is None else [channel_id, *waiting]
        if not may_use(right, rights_of(member, concerned), call=channel_id, waiting=waiting):
            raise RefusedError(NOT_THEIRS[right])
        if use in LIMITS:
            wait_s = self.count(LIMITS[use], guild_id, member.id)
            if wait_s:
                raise RefusedError(texts.waiting.too_often(wait_s))

    def count(self, limit: UseLimit, guild_id: int, user_id: int) -> float:
        """Count a use and return 0; if it is one too many, count nothing and return the seconds until it is allowed."""
        now = self.clock.now()
        keys = [((limit.kind, "person", user_id), limit.person), ((limit.kind, "guild", guild_id), limit.guild)]
        wait_s = max(self.used.wait_s(key, rate, now) for key, rate in keys)
        if not wait_s:
            for key, rate in keys:
                self.used.use(key, rate, now)
        return wait_s

    def own_channels(self, guild_id: int, member: Any) -> frozenset[int]:
        """The guild's channels with a call or in the queue that this person may decide about."""
        call = self.calls.call(guild_id)
        concerned = {*self.calls.waiting(guild_id), *([call.voice_channel.place.channel_id] if call else [])}
        who = rights_of(member, concerned)
        return frozenset(channel_id for channel_id in concerned if who.may_change(channel_id))

    def call_with(self, guild_id: int, member: Any) -> AnyCall | None:
        """The call in the voice channel of this member; None if there is none."""
        call, channel_id = self.calls.call(guild_id), voice_channel_id(member)
        return call if call and call.voice_channel.place.channel_id == channel_id else None


def option(name: str, kind: Any, description: str, **more: Any) -> Callable[[Command], Command]:
    """One option of a slash command; py-cord's own decorator has no types."""
    return discord.option(name, kind, description=description, **more)  # type: ignore[no-untyped-call, no-any-return] # see above


def voice_channel_id(member: Any) -> int | None:
    """The voice channel of a member; None if they are in none."""
    voice = getattr(member, "voice", None)
    return int(voice.channel.id) if voice and voice.channel else None


def rights_of(member: Any, channels: Collection[int]) -> MemberRights:
    """The rights of a person in their guild and these channels. A user who is no member has none.

    A member in timeout has only the permissions to see channels and read their history, except an administrator or the owner. py-cord does
    not take that into account.
    """
    if not isinstance(member, discord.Member):
        return MemberRights(channel_id=None, moderates=frozenset(), admin=False)
    if member.timed_out and not member.guild_permissions.administrator:
        return MemberRights(voice_channel_id(member), moderates=frozenset(), admin=False)
    known = [channel for channel_id in channels if (channel := member.guild.get_channel(channel_id))]
    moderates = frozenset(channel.id for channel in known if any(getattr(channel.permissions_for(member), name) for name in MODERATING))
    return MemberRights(voice_channel_id(member), moderates, admin=member.guild_permissions.manage_guild)


def guild_id_of(context: Any) -> int:
    """The guild of a command or button that exists in guilds only."""
    return int(context.guild_id)


async def reply(context: discord.ApplicationContext, text: str, **more: Any) -> None:
    """Answer a command. Only the caller sees it, and it mentions nobody. `more` are buttons or a file. Never raises.

    The deferral of the answer may have failed; the command does its work anyway.
    """
    if not isinstance(context, CommandContext):
        raise TypeError(type(context))
    await context.answer.send(text, **more)


def sentence_about(error: BaseException) -> str:
    """The answer after a failure: its own sentence, if it has one. Anything else is a bug, and the log has the details."""
    cause = getattr(error, "original", error)
    return texts.calls.told(str(cause)) if isinstance(cause, DiscordplexError) else texts.calls.COMMAND_FAILED


async def reply_to_failure(context: discord.ApplicationContext, error: BaseException) -> None:
    """A command raised: log it and answer."""
    note_failure(str(context.command), context.guild_id, error)
    await reply(context, sentence_about(error))


def note_failure(what: str, guild_id: int | None, error: BaseException) -> None:
    """Log the failure of a command or button: one line if it was expected, the whole traceback if not."""
    cause = getattr(error, "original", error)
    if isinstance(cause, DiscordplexError):
        log.info("command refused", command=what, guild=guild_id, kind=type(cause).__name__)
    else:
        log.error("command failed", command=what, guild=guild_id, exc_info=cause)
