"""Prefix commands: messages such as `!join`, if `bot.prefix` is set. They do the same as the slash commands."""

from collections.abc import Awaitable, Callable, Collection

import aiohttp
import discord
import structlog

from discordplex.bot.commands.base import CommandServices, note_failure, sentence_about
from discordplex.bot.commands.calls import call_in, go_on, send_away, stop_here
from discordplex.bot.commands.reply import NO_MENTIONS
from discordplex.bot.rights import ANSWERING
from discordplex.bot.texts.markdown import messages

log = structlog.get_logger()

Act = Callable[[int, discord.Member], Awaitable[str]]


class WrittenCommands:
    """`!join`, `!listen`, `!stop`, `!leave`. Every other message is ignored. Thread: loop."""

    def __init__(self, prefix: str, services: CommandServices) -> None:
        self._prefix = prefix.casefold()
        self._services = services
        self._acts: dict[str, Act] = {
            "join": lambda guild_id, member: call_in(services, guild_id, member),
            "listen": lambda guild_id, member: go_on(services, guild_id, member),
            "stop": lambda guild_id, member: stop_here(services, guild_id, member),
            "leave": lambda guild_id, member: send_away(services, guild_id, member),
        }

    @property
    def words(self) -> Collection[str]:
        """The words that may follow the prefix."""
        return self._acts.keys()

    async def read(self, message: discord.Message) -> None:
        """If a message is a command, run it and answer in the same channel.

        Everybody can read the answers, so there is a limit for answers per person. Beyond it, commands still run, without an answer.
        """
        word, guild, member = self._word(message.content), message.guild, message.author
        if word not in self._acts or guild is None or not isinstance(member, discord.Member):
            return
        try:
            self._services.admit(f"!{word}", guild.id, member)
            text = await self._acts[word](guild.id, member)
        except Exception as error:  # noqa: BLE001 -- the edge: a command that fails says so, in the log with its cause
            note_failure("written command", guild.id, error)
            text = sentence_about(error)
        if self._services.count(ANSWERING, guild.id, member.id):
            return  # the command has run
        try:
            for part in messages(text):
                await message.reply(part, mention_author=False, allowed_mentions=NO_MENTIONS)
        except (discord.DiscordException, aiohttp.ClientError, OSError) as fault:
            log.warning("prefix command not answered", cause=type(fault).__name__)

    def _word(self, content: str) -> str:
        """The word after the prefix; empty if the message does not start with it."""
        word = content.strip().casefold()
        return word.removeprefix(self._prefix) if word.startswith(self._prefix) else ""
