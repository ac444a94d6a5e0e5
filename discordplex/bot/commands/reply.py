"""How one command or button is answered. Discord is asked for time beside the work, never before it."""

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
"""Discord takes a first answer for so long (documented). A request that hangs is not waited for any longer."""

FAULTS = (discord.DiscordException, aiohttp.ClientError, OSError, asyncio.TimeoutError, *UNREADABLE)
"""What asking and answering may fail of without any fault of ours: among them 10062 (too late), 40060 (answered already)."""


class DeferredReply:
    """The answer to one interaction, which only who used it reads. Thread: loop.

    Making it begins to ask Discord for time and returns at once. What the interaction asked for is done meanwhile: whether Discord takes
    the request decides whether the person reads an answer, and nothing else.
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
    """What a slash command is called with. Its answer is begun before the command is."""

    def __init__(self, bot: discord.Bot, interaction: discord.Interaction) -> None:
        super().__init__(bot, interaction)
        self.answer = DeferredReply(interaction)


def cause_of(fault: BaseException) -> str:
    """Why Discord did not take an answer, in a word or two."""
    return f"code {fault.code}" if isinstance(fault, discord.HTTPException) else type(fault).__name__
