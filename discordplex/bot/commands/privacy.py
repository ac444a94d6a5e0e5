"""Opt-outs, and what is stored about people: the buttons below a greeting, and /privacy."""

from typing import Any

import discord

from discordplex.bot import texts
from discordplex.bot.commands.base import IN_GUILDS, CommandServices, guild_id_of, reply
from discordplex.bot.commands.views import Panel
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.bot.texts.calls import with_save_status
from discordplex.errors import StoreError

DONT_LISTEN_ID, LISTEN_ID = "discordplex:dont-listen", "discordplex:listen"
"""Old messages have buttons with these ids: never change them."""

FORGET_ID = "discordplex:forget-me"
"""Old messages have buttons with this id: never change it."""


class ConsentPanel(Panel):
    """The buttons below the greeting of every call."""

    @discord.ui.button(label=texts.privacy.DONT_LISTEN, style=discord.ButtonStyle.secondary, custom_id=DONT_LISTEN_ID)
    async def dont_listen(self, _: Any, interaction: discord.Interaction) -> None:
        """The person who presses is not heard from now on."""
        await self.answer(interaction, dont_listen(self.services.preferences, presser(interaction)))

    @discord.ui.button(label=texts.privacy.LISTEN_AGAIN, style=discord.ButtonStyle.secondary, custom_id=LISTEN_ID)
    async def listen(self, _: Any, interaction: discord.Interaction) -> None:
        """The person who presses may be heard again."""
        await self.answer(interaction, listen(self.services.preferences, presser(interaction)))


class PrivacyPanel(ConsentPanel):
    """The buttons below the answer of /privacy: those of `ConsentPanel`, and one to delete everything."""

    @discord.ui.button(label=texts.privacy.FORGET_ME, style=discord.ButtonStyle.danger, custom_id=FORGET_ID)
    async def forget(self, _: Any, interaction: discord.Interaction) -> None:
        """Delete what is stored about the person who presses."""
        await self.answer(interaction, forget(self.services, presser(interaction)))


def presser(interaction: discord.Interaction) -> int:
    """Who pressed a button."""
    if interaction.user is None:
        raise LookupError("a button that nobody pressed")
    return interaction.user.id


async def dont_listen(preferences: StoredPreferences, user_id: int) -> str:
    """Do not hear this person any more; returns the answer."""
    return with_save_status(texts.privacy.NOT_HEARD, await preferences.silence(user_id))


async def listen(preferences: StoredPreferences, user_id: int) -> str:
    """Hear this person again; returns the answer."""
    if preferences.opt_outs_known and user_id not in preferences.opted_out:
        return texts.privacy.HEARD_ALREADY
    return with_save_status(texts.privacy.HEARD_AGAIN, await preferences.listen(user_id))


async def forget(services: CommandServices, user_id: int) -> str:
    """Delete what is stored about a person; returns the answer. Raises StoreError."""
    deleted = await services.preferences.forget(user_id)
    if not deleted.save_status.saved:
        return texts.privacy.to_be_forgotten(deleted.save_status)
    silent = user_id in services.preferences.opted_out
    return with_save_status(texts.privacy.FORGOTTEN_BUT_SILENT if silent else texts.privacy.FORGOTTEN, deleted.save_status)


def add_privacy_commands(bot: discord.Bot, services: CommandServices) -> None:
    """/privacy."""

    @bot.slash_command(
        name="privacy", description="See and delete what is stored about you, and choose whether I hear you.", contexts=IN_GUILDS
    )
    async def privacy(context: discord.ApplicationContext) -> None:
        policy = services.recording_policy(guild_id_of(context))
        try:
            text = texts.privacy.about_person(await services.preferences.store.privacy.what_is_stored(context.author.id), policy)
        except StoreError as fault:  # the buttons work anyway
            text = texts.privacy.not_read(policy, str(fault))
        await reply(context, text, view=PrivacyPanel())
