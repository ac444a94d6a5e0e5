"""The slash commands, all of them: what `add_commands` gives to a bot. Each kind has a file of its own beside this one.

None of them defers: `gateway` asks Discord for time beside the command (`answer.Answer`), so that no command waits for Discord before its
work is done. Only who calls one sees the reply: the channel is for what everybody should know.
"""

import discord

from discordplex.bot.commands_calls import add_call_commands
from discordplex.bot.commands_personas import ApplyPanel, add_persona_commands
from discordplex.bot.commands_privacy import PrivacyPanel, add_privacy_commands
from discordplex.bot.commands_settings import add_settings_commands
from discordplex.bot.consent import ConsentPanel
from discordplex.bot.desk import Desk


def add_commands(bot: discord.Bot, desk: Desk) -> None:
    """Give `bot` its slash commands."""
    add_call_commands(bot, desk)
    add_persona_commands(bot, desk)
    add_privacy_commands(bot, desk)
    add_settings_commands(bot, desk)


def add_buttons(bot: discord.Bot, desk: Desk) -> None:
    """Let `bot` answer buttons, also those of an earlier run. The event loop must be running."""
    for panel in (ConsentPanel, ApplyPanel, PrivacyPanel):
        bot.add_view(panel(desk))
