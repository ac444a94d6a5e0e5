"""The slash commands, all of them: what `add_commands` gives to a bot. Each kind has a file of its own beside this one.

None of them defers: `gateway` asks Discord for time beside the command (`answer.Answer`), so that no command waits for Discord before its
work is done. Only who calls one sees the reply: the channel is for what everybody should know.
"""

import discord

from discordplex.bot.commands.base import CommandServices, guild_id_of
from discordplex.bot.commands.calls import add_call_commands
from discordplex.bot.commands.personas import ApplyPanel, add_persona_commands
from discordplex.bot.commands.privacy import ConsentPanel, PrivacyPanel, add_privacy_commands
from discordplex.bot.commands.settings import add_settings_commands
from discordplex.errors import RefusedError

PANELS = (ConsentPanel, ApplyPanel, PrivacyPanel)
"""Every row of buttons."""


def add_commands(bot: discord.Bot, services: CommandServices) -> None:
    """Give `bot` its slash commands, and let each be used by whom it may."""

    async def allowed(context: discord.ApplicationContext) -> bool:
        if isinstance(context.command, discord.SlashCommandGroup):
            return True  # the command in it is asked about next
        try:
            services.admit(use_of(context), guild_id_of(context), context.author)
        except RefusedError as refusal:
            raise discord.ApplicationCommandInvokeError(refusal) from refusal
        return True

    bot.check(allowed)  # type: ignore[no-untyped-call] # py-cord does not annotate it
    add_call_commands(bot, services)
    add_persona_commands(bot, services)
    add_privacy_commands(bot, services)
    add_settings_commands(bot, services)


def use_of(context: discord.ApplicationContext) -> str:
    """What is used, by its name in `access.RIGHTS`: the command, and a switch that is set."""
    switches = [str(option["name"]) for option in context.selected_options or () if option.get("value") is True]
    name = context.command.qualified_name if context.command else ""
    return " ".join([f"/{name}", *switches])


def add_buttons(bot: discord.Bot, services: CommandServices) -> None:
    """Let `bot` answer buttons, also those of an earlier run. The event loop must be running."""
    for panel in PANELS:
        bot.add_view(panel(services))
