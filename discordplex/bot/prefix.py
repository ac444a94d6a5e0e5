"""Commands that are written as messages, where `bot.prefix` is set: they do what the slash commands of the same name do."""

from collections.abc import Awaitable, Callable

import aiohttp
import discord
import structlog

from discordplex.bot.answer import NO_MENTIONS
from discordplex.bot.commands_calls import call_in, go_on, stop_here
from discordplex.bot.desk import Desk, note_failure, sentence_about
from discordplex.bot.text import messages

log = structlog.get_logger()

Act = Callable[[int, discord.Member], Awaitable[str]]


class WrittenCommands:
    """`!join`, `!listen`, `!stop`, `!leave`. Every other message is left alone. Thread: loop."""

    def __init__(self, prefix: str, desk: Desk) -> None:
        self._prefix = prefix.casefold()
        self._acts: dict[str, Act] = {
            "join": lambda guild_id, member: call_in(desk, guild_id, member),
            "listen": lambda guild_id, member: go_on(desk, guild_id, member),
            "stop": lambda guild_id, member: stop_here(desk, guild_id, member),
            "leave": lambda guild_id, member: desk.exchange.leave(guild_id, member.display_name),
        }

    async def read(self, message: discord.Message) -> None:
        """Do what a message asks for, if it asks for something, and answer it where it was written."""
        act = self._act(message.content)
        if act is None or message.guild is None or not isinstance(message.author, discord.Member):
            return
        try:
            text = await act(message.guild.id, message.author)
        except Exception as error:  # noqa: BLE001 -- the edge: a command that fails says so, in the log with its cause
            note_failure("written command", message.guild.id, error)
            text = sentence_about(error)
        try:
            for part in messages(text):
                await message.reply(part, mention_author=False, allowed_mentions=NO_MENTIONS)
        except (discord.DiscordException, aiohttp.ClientError, OSError) as fault:
            log.warning("written command not answered", cause=type(fault).__name__)

    def _act(self, content: str) -> Act | None:
        word = content.strip().casefold()
        return self._acts.get(word.removeprefix(self._prefix)) if word.startswith(self._prefix) else None
