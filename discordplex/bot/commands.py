"""The slash commands: validate, ask the switchboard, reply. Each is deferred at once and so answered within Discord's 3 s."""

from typing import Any, Protocol

import discord
import structlog

from discordplex.bot import replies
from discordplex.bot.sessions import Place

log = structlog.get_logger()

IN_GUILDS = {discord.InteractionContextType.guild}


class Exchange(Protocol):
    """What the commands ask; `switchboard.Switchboard` has it."""

    async def join(self, place: Place) -> str:
        """Call us into a channel; what came of it."""
        ...

    async def leave(self, guild_id: int, name: str) -> str:
        """Send us away; what came of it."""
        ...

    def status(self, guild_id: int) -> replies.Status:
        """How things are."""
        ...


def add_commands(bot: discord.Bot, exchange: Exchange) -> None:
    """Give `bot` its slash commands. Only who calls one sees the reply: the channel is for what everybody should know."""

    @bot.slash_command(name="join", description="Call me into the voice channel that you are in.", contexts=IN_GUILDS)
    async def join(context: discord.ApplicationContext) -> None:
        await context.defer(ephemeral=True)
        voice = getattr(context.author, "voice", None)
        channel = voice.channel if voice else None
        await reply(context, await exchange.join(Place(guild_id_of(context), channel.id)) if channel else replies.NOT_IN_VOICE)

    @bot.slash_command(name="leave", description="Send me out of the voice channel.", contexts=IN_GUILDS)
    async def leave(context: discord.ApplicationContext) -> None:
        await context.defer(ephemeral=True)
        await reply(context, await exchange.leave(guild_id_of(context), context.author.display_name))

    @bot.slash_command(name="status", description="See whom I talk with, who waits, and how I am.", contexts=IN_GUILDS)
    async def status(context: discord.ApplicationContext) -> None:
        await context.defer(ephemeral=True)
        await reply(context, replies.status(exchange.status(guild_id_of(context))))


async def reply(context: discord.ApplicationContext, text: str) -> None:
    """Answer a command; nobody but the caller sees it, and it mentions nobody."""
    await context.respond(text, ephemeral=True, allowed_mentions=discord.AllowedMentions.none())


async def reply_to_failure(context: discord.ApplicationContext, error: BaseException) -> None:
    """A command raised: log it, and say so as long as Discord lets us."""
    cause = getattr(error, "original", error)
    log.error("command failed", command=str(context.command), guild=context.guild_id, exc_info=cause)
    try:
        await reply(context, replies.COMMAND_FAILED)
    except discord.DiscordException as fault:
        log.warning("command not answered", cause=type(fault).__name__)


def guild_id_of(context: Any) -> int:
    """The guild of a command that exists in guilds only."""
    return int(context.guild_id)
