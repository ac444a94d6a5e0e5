"""Panel: buttons that work for as long as the bot exists."""

from collections.abc import Awaitable
from typing import Any

import discord
import structlog

from discordplex.bot.desk import NO_MENTIONS, Desk, note_failure, sentence_about

log = structlog.get_logger()


class Panel(discord.ui.View):
    """Buttons that also work below messages of an earlier run: who pressed, and where, is all that they need to know.

    One with a desk is registered once (`discord.Bot.add_view`) and answers. Those without are sent: they only look like it, and cost
    nothing when their message is forgotten.
    """

    def __init__(self, desk: Desk | None = None) -> None:
        super().__init__(timeout=None, store=desk is not None)
        self._desk = desk

    @property
    def desk(self) -> Desk:
        """Whom the buttons ask."""
        if self._desk is None:
            raise RuntimeError("a panel that was only sent does not answer")
        return self._desk

    async def answer(self, interaction: discord.Interaction, sentence: Awaitable[str], **more: Any) -> None:
        """Ask for time at once, then tell who pressed, and nobody else, what `sentence` gives."""
        with self.desk.handling():
            await interaction.response.defer(ephemeral=True, invisible=False)
            try:
                text = await sentence
            except Exception as error:  # noqa: BLE001 -- the edge: a button that fails says so, in the log with its cause
                note_failure("button", interaction.guild_id, error)
                text = sentence_about(error)
            await interaction.followup.send(text, ephemeral=True, allowed_mentions=NO_MENTIONS, **more)

    async def on_error(self, error: Exception, item: Any, interaction: discord.Interaction) -> None:
        """Discord did not take the answer."""
        log.warning("button not answered", button=item.custom_id, guild=interaction.guild_id, cause=type(error).__name__)
