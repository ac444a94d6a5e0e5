"""Who is not to be heard: the buttons below a call's greeting, and what they do."""

from typing import Any

import discord

from discordplex.bot import replies_privacy as replies
from discordplex.bot.panels import Panel
from discordplex.bot.preferences import StoredPreferences
from discordplex.bot.replies import as_it_stands

DONT_LISTEN_ID, LISTEN_ID = "discordplex:dont-listen", "discordplex:listen"
"""They stand below old messages: never change them."""


class ConsentPanel(Panel):
    """Below the greeting of every call."""

    @discord.ui.button(label=replies.DONT_LISTEN, style=discord.ButtonStyle.secondary, custom_id=DONT_LISTEN_ID)
    async def dont_listen(self, _: Any, interaction: discord.Interaction) -> None:
        """Whoever presses is not heard from now on."""
        await self.answer(interaction, dont_listen(self.desk.preferences, presser(interaction)))

    @discord.ui.button(label=replies.LISTEN_AGAIN, style=discord.ButtonStyle.secondary, custom_id=LISTEN_ID)
    async def listen(self, _: Any, interaction: discord.Interaction) -> None:
        """Whoever presses may be heard again."""
        await self.answer(interaction, listen(self.desk.preferences, presser(interaction)))


def presser(interaction: discord.Interaction) -> int:
    """Who pressed a button."""
    if interaction.user is None:
        raise LookupError("a button that nobody pressed")
    return interaction.user.id


async def dont_listen(preferences: StoredPreferences, user_id: int) -> str:
    """Never hear this person again; what they are told."""
    preferences.silence(user_id)
    return as_it_stands(replies.NOT_HEARD, await preferences.keep_silenced(user_id))


async def listen(preferences: StoredPreferences, user_id: int) -> str:
    """Hear this person again; what they are told."""
    if preferences.opt_outs_known and user_id not in preferences.opted_out:
        return replies.HEARD_ALREADY
    return as_it_stands(replies.HEARD_AGAIN, await preferences.listen(user_id))
