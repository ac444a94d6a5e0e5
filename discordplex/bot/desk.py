"""Desk: what commands, buttons and written commands have in common. Whom they ask, and how they answer."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import discord
import structlog

from discordplex.bot import replies
from discordplex.bot.answer import CommandContext
from discordplex.bot.outcome import AnyCall
from discordplex.bot.personas import Personas
from discordplex.bot.preferences import StoredPreferences
from discordplex.bot.sessions import Place
from discordplex.errors import DiscordplexError

log = structlog.get_logger()

IN_GUILDS = {discord.InteractionContextType.guild}

Command = TypeVar("Command", bound=Callable[..., Any])


class Exchange(Protocol):
    """What is asked about calls; `switchboard.Switchboard` has it."""

    async def join(self, place: Place, asker: int | None = None) -> str:
        """Call us into a channel, at this person's wish; what came of it."""
        ...

    async def leave(self, guild_id: int, name: str) -> str:
        """Send us away; what came of it."""
        ...

    def status(self, guild_id: int) -> replies.Status:
        """How things are."""
        ...

    def queue_lines(self, guild_id: int) -> Sequence[str]:
        """A sentence for each channel of the guild that waits, with what it may expect."""
        ...

    def leave_queue(self, guild_id: int) -> str:
        """Nobody of the guild waits any more; what came of it."""
        ...

    def call(self, guild_id: int) -> AnyCall | None:
        """The guild's call, None where it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """Whom commands ask."""

    exchange: Exchange
    preferences: StoredPreferences
    personas: Personas
    voices: tuple[str, ...]
    """The engine's voices; none where it takes any."""
    handling: Callable[[], AbstractContextManager[None]]
    """Around everything that the way out shall wait for."""

    def call_with(self, guild_id: int, member: Any) -> AnyCall | None:
        """The call in whose channel this member sits, None where there is none."""
        call, channel_id = self.exchange.call(guild_id), voice_channel_id(member)
        return call if call and call.room.place.channel_id == channel_id else None


def option(name: str, kind: Any, description: str, **more: Any) -> Callable[[Command], Command]:
    """One option of a slash command; py-cord's own decorator carries no types."""
    return discord.option(name, kind, description=description, **more)  # type: ignore[no-untyped-call, no-any-return] # see above


def voice_channel_id(member: Any) -> int | None:
    """The voice channel in which a member sits, None where in none."""
    voice = getattr(member, "voice", None)
    return int(voice.channel.id) if voice and voice.channel else None


def guild_id_of(context: Any) -> int:
    """The guild of a command or button that exists in guilds only."""
    return int(context.guild_id)


def is_admin(context: discord.ApplicationContext) -> bool:
    """Whether the caller may change what holds for the whole server."""
    may = context.interaction.permissions
    return bool(may.manage_guild or may.administrator)


async def reply(context: discord.ApplicationContext, text: str, **more: Any) -> None:
    """Answer a command; nobody but the caller sees it, and it mentions nobody. `more` are buttons or a file. Never raises.

    Discord has been asked for time already, and may have refused: a command does its work whatever became of that.
    """
    if not isinstance(context, CommandContext):
        raise TypeError(type(context))
    await context.answer.send(text, **more)


def sentence_about(error: BaseException) -> str:
    """What a person is told of a failure: its own sentence where it has one. Anything else is a bug, which the log explains."""
    cause = getattr(error, "original", error)
    return replies.told(str(cause)) if isinstance(cause, DiscordplexError) else replies.COMMAND_FAILED


async def reply_to_failure(context: discord.ApplicationContext, error: BaseException) -> None:
    """A command raised: log it, and say so as long as Discord lets us."""
    note_failure(str(context.command), context.guild_id, error)
    await reply(context, sentence_about(error))


def note_failure(what: str, guild_id: int | None, error: BaseException) -> None:
    """Log what a command or button met: one line where it was foreseen, everything where it was not."""
    cause = getattr(error, "original", error)
    if isinstance(cause, DiscordplexError):
        log.info("command refused", command=what, guild=guild_id, kind=type(cause).__name__)
    else:
        log.error("command failed", command=what, guild=guild_id, exc_info=cause)
