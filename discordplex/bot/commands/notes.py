"""/notes, for the admins of a server, and the button below the notes of a call."""

from dataclasses import replace
from typing import Any

import discord

from discordplex.bot import texts
from discordplex.bot.commands.base import IN_GUILDS, CommandServices, guild_id_of, option, reply
from discordplex.bot.commands.settings import ADMINS, change
from discordplex.bot.commands.views import Panel

DELETE_ID = "discordplex:delete-notes"
"""Old messages have buttons with this id: never change it."""


class NotesPanel(Panel):
    """The button below the notes of every call."""

    @discord.ui.button(label=texts.notes.DELETE, style=discord.ButtonStyle.secondary, custom_id=DELETE_ID)
    async def delete(self, _: Any, interaction: discord.Interaction) -> None:
        """Delete the notes with this button."""
        await self.answer(interaction, delete(interaction.message))


async def delete(message: Any) -> str:
    """Delete a message of the bot; returns the answer."""
    try:
        await message.delete()
    except discord.NotFound:
        return texts.notes.NO_LONGER_THERE
    except discord.Forbidden:
        return texts.notes.MAY_NOT_DELETE
    return texts.notes.DELETED


def add_notes_commands(bot: discord.Bot, services: CommandServices) -> None:
    """/notes."""

    @bot.slash_command(
        name="notes",
        description="Whether I post notes after a call: who was there, what was decided. Needs transcripts.",
        contexts=IN_GUILDS,
        default_member_permissions=ADMINS,
    )
    @option("state", str, description="On or off.", choices=["on", "off"])
    async def notes(context: discord.ApplicationContext, state: str) -> None:
        if state == "on" and not services.preferences.rules(guild_id_of(context)).transcripts:
            await reply(context, texts.notes.NEED_TRANSCRIPTS)
            return
        await change(context, services, lambda now: replace(now, notes=state == "on"))
