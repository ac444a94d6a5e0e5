"""Adds all slash commands and buttons to a bot. Each group has its own file beside this one.

No command defers its answer itself: the client does that at the same time (`reply.DeferredReply`), so that no command waits for Discord.
Only the caller sees the answer; a channel is for what everybody should know.
"""

import discord

from discordplex.bot.commands.base import CommandServices, guild_id_of
from discordplex.bot.commands.calls import add_call_commands
from discordplex.bot.commands.notes import NotesPanel, add_notes_commands
from discordplex.bot.commands.personas import ApplyPanel, add_persona_commands
from discordplex.bot.commands.privacy import ConsentPanel, PrivacyPanel, add_privacy_commands
from discordplex.bot.commands.settings import add_settings_commands
from discordplex.errors import RefusedError

PANELS = (ConsentPanel, ApplyPanel, PrivacyPanel, NotesPanel)
"""All panels."""


def add_commands(bot: discord.Bot, services: CommandServices) -> None:
    """Add the slash commands to `bot`, with a check of rights for each."""

    async def allowed(context: discord.ApplicationContext) -> bool:
        if isinstance(context.command, discord.SlashCommandGroup):
            return True  # this is a group; its command is checked next
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
    add_notes_commands(bot, services)


def use_of(context: discord.ApplicationContext) -> str:
    """The name in `access.RIGHTS` of what is used: the command, and an option that is set."""
    switches = [str(option["name"]) for option in context.selected_options or () if option.get("value") is True]
    name = context.command.qualified_name if context.command else ""
    return " ".join([f"/{name}", *switches])


def add_buttons(bot: discord.Bot, services: CommandServices) -> None:
    """Make `bot` answer buttons, also those of an earlier run. The event loop must be running."""
    for panel in PANELS:
        bot.add_view(panel(services))
