"""Panel: buttons that work for as long as the bot exists."""

from collections.abc import Awaitable
from typing import Any

import discord

from discordplex.bot.commands.base import CommandServices, guild_id_of, note_failure, sentence_about
from discordplex.bot.commands.reply import DeferredReply
from discordplex.errors import RefusedError


class Panel(discord.ui.View):
    """Buttons that also work below messages of an earlier run, because they only need to know who pressed, and where.

    A panel with `services` is registered once (`discord.Bot.add_view`) and answers all presses. Panels without `services` are sent with
    messages: they have the same ids and need no memory.
    """

    def __init__(self, services: CommandServices | None = None) -> None:
        super().__init__(timeout=None, store=services is not None)
        self._services = services

    @property
    def services(self) -> CommandServices:
        """The services that the buttons use."""
        if self._services is None:
            raise RuntimeError("a panel that was only sent does not answer")
        return self._services

    async def answer(self, interaction: discord.Interaction, sentence: Awaitable[str], **more: Any) -> None:
        """Run `sentence`, whether or not Discord accepts the answer, and show what it returns to the person who pressed."""
        with self.services.handling():
            answer = DeferredReply(interaction)
            try:
                text = await sentence
            except Exception as error:  # noqa: BLE001 -- the edge: a button that fails says so, in the log with its cause
                note_failure("button", interaction.guild_id, error)
                text = sentence_about(error)
            await answer.send(text, **more)

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Whether the person may use the button; if not, they are told why."""
        buttons = (item for item in self.children if isinstance(item, discord.ui.Button))
        label = next(button.label for button in buttons if button.custom_id == interaction.custom_id)
        try:
            self.services.admit(f"*{label}*", guild_id_of(interaction), interaction.user)
        except RefusedError as refusal:
            await self.answer(interaction, refused(refusal))
            return False
        return True

    async def on_check_failure(self, interaction: discord.Interaction) -> None:
        """Nothing to do: `interaction_check` has answered."""

    async def on_error(self, error: Exception, item: Any, interaction: discord.Interaction) -> None:
        """A bug in a button: expected failures end in `answer`."""
        note_failure(str(item.custom_id), interaction.guild_id, error)


async def refused(refusal: RefusedError) -> str:
    """The refusal as the answer of a button."""
    raise refusal
