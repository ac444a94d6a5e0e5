"""The answer to a command or button. It is deferred while the work runs, not before."""

import asyncio
from typing import Any

import aiohttp
import discord
import structlog

from discordplex.bot.chat.poster import UNREADABLE
from discordplex.bot.texts.markdown import messages

log = structlog.get_logger()

NO_MENTIONS = discord.AllowedMentions.none()

ANSWER_WITHIN_S = 3.0
"""Discord accepts a first answer within this time (documented), so a deferral is not waited for any longer."""

FAULTS = (discord.DiscordException, aiohttp.ClientError, OSError, asyncio.TimeoutError, *UNREADABLE)
"""Exceptions of deferring and answering that are not bugs of ours, such as 10062 (too late) and 40060 (already answered)."""


class DeferredReply:
    """The answer to one interaction. Only the person who used it can read it. Thread: loop.

    Making it starts the deferral and returns at once. The work of the interaction runs meanwhile. If the deferral fails, the person reads
    no answer; the work is done anyway.
    """

    def __init__(self, interaction: discord.Interaction) -> None:
        self._interaction = interaction
        self._asking = asyncio.create_task(self._ask_for_time(), name="answer")

    async def send(self, text: str, **more: Any) -> None:
        """Write the answer; `more` are buttons or a file. Never raises: an answer that cannot be written is logged."""
        await asyncio.wait({self._asking}, timeout=ANSWER_WITHIN_S)
        self._asking.cancel()
        parts = messages(text)
        try:
            for part in parts:
                below = more if part is parts[-1] else {}
                await self._interaction.followup.send(part, ephemeral=True, allowed_mentions=NO_MENTIONS, **below)
        except FAULTS as fault:
            log.warning("command answer not delivered", guild=self._interaction.guild_id, cause=cause_of(fault))

    async def _ask_for_time(self) -> None:
        try:
            await self._interaction.response.defer(ephemeral=True, invisible=False)
        except FAULTS as fault:
            log.info("command answer not deferred", guild=self._interaction.guild_id, cause=cause_of(fault))


class CommandContext(discord.ApplicationContext):
    """The context of a slash command. Its answer is deferred before the command runs."""

    def __init__(self, bot: discord.Bot, interaction: discord.Interaction) -> None:
        super().__init__(bot, interaction)
        self.answer = DeferredReply(interaction)


def cause_of(fault: BaseException) -> str:
    """Why Discord did not accept an answer, in one or two words."""
    return f"code {fault.code}" if isinstance(fault, discord.HTTPException) else type(fault).__name__
