"""Panel: buttons that work for as long as the bot exists."""

from collections.abc import Awaitable
from typing import Any

import discord

from discordplex.bot.commands.base import CommandServices, guild_id_of, note_failure, sentence_about
from discordplex.bot.commands.reply import DeferredReply
from discordplex.errors import RefusedError


class Panel(discord.ui.View):
    """Buttons that also work below messages of an earlier run: who pressed, and where, is all that they need to know.

    One with a services is registered once (`discord.Bot.add_view`) and answers. Those without are sent: they only look like it, and cost
    nothing when their message is forgotten.
    """

    def __init__(self, services: CommandServices | None = None) -> None:
        super().__init__(timeout=None, store=services is not None)
        self._desk = services

    @property
    def services(self) -> CommandServices:
        """Whom the buttons ask."""
        if self._desk is None:
            raise RuntimeError("a panel that was only sent does not answer")
        return self._desk

    async def answer(self, interaction: discord.Interaction, sentence: Awaitable[str], **more: Any) -> None:
        """Do what `sentence` stands for, whether or not Discord takes our answer; then tell who pressed, and nobody else, what it gives."""
        with self.services.handling():
            answer = DeferredReply(interaction)
            try:
                text = await sentence
            except Exception as error:  # noqa: BLE001 -- the edge: a button that fails says so, in the log with its cause
                note_failure("button", interaction.guild_id, error)
                text = sentence_about(error)
            await answer.send(text, **more)

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Whether the presser may use the button; otherwise they are told why not."""
        buttons = (item for item in self.children if isinstance(item, discord.ui.Button))
        label = next(button.label for button in buttons if button.custom_id == interaction.custom_id)
        try:
            self.services.admit(f"*{label}*", guild_id_of(interaction), interaction.user)
        except RefusedError as refusal:
            await self.answer(interaction, refused(refusal))
            return False
        return True

    async def on_check_failure(self, interaction: discord.Interaction) -> None:
        """They were told already."""

    async def on_error(self, error: Exception, item: Any, interaction: discord.Interaction) -> None:
        """A bug in a button: what is foreseen ends in `answer`."""
        note_failure(str(item.custom_id), interaction.guild_id, error)


async def refused(refusal: RefusedError) -> str:
    """Why a button did nothing, as its answer."""
    raise refusal
