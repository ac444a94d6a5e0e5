"""/settings, for the admins of a server. Discord shows it to members with Manage Server, and `access` checks that again."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import discord

from discordplex.bot import texts
from discordplex.bot.chat.channel import may_open_threads, may_write
from discordplex.bot.commands.base import IN_GUILDS, CommandServices, guild_id_of, option, reply
from discordplex.bot.commands.personas import Completion, own_words_options, saved_persona_option
from discordplex.bot.settings.personas import offers
from discordplex.bot.texts.calls import with_save_status
from discordplex.bot.texts.markdown import LONGEST_NAME
from discordplex.errors import StoreError
from discordplex.plaintext import one_line
from discordplex.store.records import CaptionsSetting, Choice, GuildSettings, RuleKind, SaveStatus

ADMINS = discord.Permissions(manage_guild=True)
LONGEST_MINUTES = 24 * 60
VOICE_CHANNELS = [discord.ChannelType.voice, discord.ChannelType.stage_voice]
RULES = {"allow": True, "deny": False, "neither": None}


def add_settings_commands(bot: discord.Bot, services: CommandServices) -> None:
    """/settings."""
    group = bot.create_group("settings", "The settings of this server.", contexts=IN_GUILDS, default_member_permissions=ADMINS)
    add_showing(group, services)
    add_captions(group, services)
    add_transcripts(group, services)
    add_persona(group, services)
    add_rules(group, services)
    add_limits(group, services)


def add_showing(group: discord.SlashCommandGroup, services: CommandServices) -> None:
    """/settings show and reset."""

    @group.command(name="show", description="See the settings of this server.")
    async def show(context: discord.ApplicationContext) -> None:
        await tell(context, services)

    @group.command(name="reset", description="Delete all settings of this server. The configuration of the bot applies again.")
    async def reset(context: discord.ApplicationContext) -> None:
        await change(context, services, lambda now: GuildSettings(now.guild_id))


def add_captions(group: discord.SlashCommandGroup, services: CommandServices) -> None:
    """/settings captions and captions-of-people."""

    @group.command(name="captions", description="Where captions and notices go.")
    @option("where", str, description="The kind of place.", choices=["voice", "channel", "thread", "off"])
    @option("channel", discord.TextChannel, description="The text channel, for channel and thread.", required=False)
    async def captions(context: discord.ApplicationContext, where: str, channel: discord.TextChannel | None = None) -> None:
        wanted = captions_of(where, context.guild.get_channel(channel.id) if context.guild and channel else None)
        await change(context, services, lambda now: replace(now, captions=wanted))

    @group.command(name="captions-of-people", description="Whether captions also show what people say, for everybody to read.")
    @option("state", str, description="On or off.", choices=["on", "off"])
    async def captions_of_people(context: discord.ApplicationContext, state: str) -> None:
        await change(context, services, lambda now: replace(now, captions_of_people=state == "on"))


def add_transcripts(group: discord.SlashCommandGroup, services: CommandServices) -> None:
    """/settings transcripts, transcript and forget-transcripts."""

    @group.command(name="transcripts", description="Whether transcripts of calls are kept. Off: nothing that is said is kept.")
    @option("state", str, description="On or off.", choices=["on", "off"])
    async def transcripts(context: discord.ApplicationContext, state: str) -> None:
        await change(context, services, lambda now: replace(now, transcripts=state == "on"))

    @group.command(name="transcript", description="Get the transcript of a call as a file.")
    @option("call", str, description="Which one.", autocomplete=calls_of(services))
    async def transcript(context: discord.ApplicationContext, call: str) -> None:
        lines = await services.preferences.store.transcripts.read(guild_id_of(context), call)
        if not lines:
            await reply(context, texts.settings.NO_TRANSCRIPT)
            return
        text = texts.settings.transcript(
            lines, one_line(getattr(context.me, "display_name", "engine"), LONGEST_NAME), lambda user_id: name_in(context.guild, user_id)
        )
        file = discord.File(io.BytesIO(text.encode()), filename="transcript.txt")
        await reply(context, texts.settings.transcript_of(call, len(lines)), file=file)

    @group.command(name="forget-transcripts", description="Delete the transcript of a call, or of all calls of this server.")
    @option("call", str, description="Which call. Leave this out for all.", required=False, autocomplete=calls_of(services))
    async def forget_transcripts(context: discord.ApplicationContext, call: str | None = None) -> None:
        await reply(context, texts.settings.transcripts_deleted(await services.preferences.forget_transcripts(guild_id_of(context), call)))


def add_persona(group: discord.SlashCommandGroup, services: CommandServices) -> None:
    """/settings persona."""

    @group.command(name="persona", description="The persona for people who chose none. Without options: the bot's default.")
    @saved_persona_option(services)
    @own_words_options(services)
    async def persona(
        context: discord.ApplicationContext, name: str | None = None, role: str | None = None, voice: str | None = None
    ) -> None:
        chosen = Choice()
        if name or role or voice:
            before = services.preferences.guild(guild_id_of(context)).choice
            guild_id, user_id = guild_id_of(context), context.author.id
            chosen = await services.personas.choice(guild_id, user_id, name=name, role=role, voice=voice, before=before)
        await change(context, services, lambda now: replace(now, choice=chosen))


def add_rules(group: discord.SlashCommandGroup, services: CommandServices) -> None:
    """/settings channel and role."""

    @group.command(name="channel", description="Whether I talk in a voice channel. If any channel is allowed, I talk in allowed ones only.")
    @option("channel", discord.abc.GuildChannel, description="Which one.", channel_types=VOICE_CHANNELS)
    @option("rule", str, description="The rule for it.", choices=list(RULES))
    async def channel(context: discord.ApplicationContext, channel: discord.abc.GuildChannel, rule: str) -> None:
        await set_rule(context, services, "channel", channel.id, rule)

    @group.command(name="role", description="Whether a role may call me. If any role is allowed, only allowed roles may.")
    @option("role", discord.Role, description="Which one.")
    @option("rule", str, description="The rule for it.", choices=list(RULES))
    async def role(context: discord.ApplicationContext, role: discord.Role, rule: str) -> None:
        await set_rule(context, services, "role", role.id, rule)


def add_limits(group: discord.SlashCommandGroup, services: CommandServices) -> None:
    """/settings limits."""

    @group.command(name="limits", description="When a call ends by itself, in minutes. 0 means never.")
    @option("idle", int, description="Minutes in which nobody has spoken.", required=False, min_value=0, max_value=LONGEST_MINUTES)
    @option("longest", int, description="Minutes of a call, when others wait.", required=False, min_value=0, max_value=LONGEST_MINUTES)
    async def limits(context: discord.ApplicationContext, idle: int | None = None, longest: int | None = None) -> None:
        await change(
            context,
            services,
            lambda now: replace(
                now,
                idle_minutes=now.idle_minutes if idle is None else idle,
                max_minutes=now.max_minutes if longest is None else longest,
            ),
        )


# Shared by all of them


async def change(context: discord.ApplicationContext, services: CommandServices, what: Callable[[GuildSettings], GuildSettings]) -> None:
    """Make a change and answer with the settings in force. If it raises StoreError, nothing has changed."""
    await tell(context, services, await services.preferences.change_guild(guild_id_of(context), what))


async def tell(context: discord.ApplicationContext, services: CommandServices, save_status: SaveStatus | None = None) -> None:
    """Answer with the settings in force, and whether a change is saved."""
    guild_id, preferences = guild_id_of(context), services.preferences
    if save_status is None or save_status.saved:
        await preferences.read_guild(guild_id)
    problem = preferences.store.problem if save_status is None or save_status.saved else None
    text = texts.settings.settings(preferences.rules(guild_id), preferences.guild_persona(guild_id), problem=problem)
    call = services.calls.call(guild_id)
    if call and not await call.disclosed():
        text = f"{text}\n{texts.settings.NOT_TOLD}"
    await reply(context, text if save_status in (None, SaveStatus(saved=True)) else with_save_status(f"{text}\n", save_status))


def name_in(guild: discord.Guild | None, user_id: int) -> str:
    """The name of a person in a server as one harmless line, if it is known."""
    member = guild.get_member(user_id) if guild else None
    return (one_line(member.display_name, LONGEST_NAME) if member else "") or str(user_id)


def calls_of(services: CommandServices) -> Completion:
    """Completes the calls with a transcript, the newest first."""

    async def complete(context: discord.AutocompleteContext) -> list[str]:
        if not context.interaction.permissions.manage_guild:
            return []
        known = await services.preferences.store.transcripts.calls(guild_id_of(context.interaction))
        return offers((one.call for one in reversed(known)), str(context.value or ""))

    return complete


async def set_rule(context: discord.ApplicationContext, services: CommandServices, kind: RuleKind, target_id: int, rule: str) -> None:
    """Allow or deny a channel or role, or remove its rule."""
    await change(context, services, lambda now: now.with_rule(kind, target_id, allowed=RULES[rule]))


def captions_of(where: Any, channel: Any | None) -> CaptionsSetting:
    """The setting for the options of /settings captions. Raises StoreError if they do not fit together, or the bot may not write there."""
    if where not in ("channel", "thread"):
        return CaptionsSetting(where)
    if channel is None:
        raise StoreError(texts.settings.CHANNEL_MISSING)
    if not (may_write(channel) if where == "channel" else may_open_threads(channel)):
        raise StoreError(texts.settings.may_not_write(channel.name, thread=where == "thread"))
    return CaptionsSetting(where, channel.id)
