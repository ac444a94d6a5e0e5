"""/privacy: what is stored about a person, deleting it, and whether they are heard."""

from typing import Any

import discord

from discordplex.bot import replies_privacy as replies
from discordplex.bot.consent import ConsentPanel, presser
from discordplex.bot.desk import IN_GUILDS, Desk, guild_id_of, reply
from discordplex.bot.replies import as_it_stands
from discordplex.errors import StoreError

FORGET_ID = "discordplex:forget-me"
"""It stands below old messages: never change it."""


class PrivacyPanel(ConsentPanel):
    """Below what /privacy says: the consent's buttons, and one to delete everything."""

    @discord.ui.button(label=replies.FORGET_ME, style=discord.ButtonStyle.danger, custom_id=FORGET_ID)
    async def forget(self, _: Any, interaction: discord.Interaction) -> None:
        """Delete what is stored about whoever presses."""
        await self.answer(interaction, forget(self.desk, presser(interaction)))


async def forget(desk: Desk, user_id: int) -> str:
    """Delete what is stored about a person; what they are told. Raises StoreError."""
    deleted = await desk.preferences.forget(user_id)
    if not deleted.standing.saved:
        return replies.to_be_forgotten(deleted.standing)
    silent = user_id in desk.preferences.opted_out
    return as_it_stands(replies.FORGOTTEN_BUT_SILENT if silent else replies.FORGOTTEN, deleted.standing)


def add_privacy_commands(bot: discord.Bot, desk: Desk) -> None:
    """/privacy."""

    @bot.slash_command(
        name="privacy", description="See and delete what is stored about you; choose whether I hear you.", contexts=IN_GUILDS
    )
    async def privacy(context: discord.ApplicationContext) -> None:
        practice = desk.practice(guild_id_of(context))
        try:
            text = replies.about_person(await desk.preferences.store.privacy.what_is_stored(context.author.id), practice)
        except StoreError as fault:  # the buttons work all the same
            text = replies.not_read(practice, str(fault))
        await reply(context, text, view=PrivacyPanel())
