"""Slash commands about personas: voices, roles, saved personas."""

import contextlib
import io
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeAlias

import discord

from discordplex.bot import texts
from discordplex.bot.commands.base import IN_GUILDS, Command, CommandServices, guild_id_of, option, reply
from discordplex.bot.commands.views import Panel
from discordplex.bot.settings.personas import PROMPT_CHARACTERS, library, offers
from discordplex.bot.texts.calls import with_save_status
from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.store import personafile
from discordplex.store.personafile import FILE_BYTES
from discordplex.store.records import Choice, Owner
from discordplex.tasks import wait_for

APPLY_ID = "discordplex:apply-persona"
"""Old messages have buttons with this id: never change it."""

FILE_S = 20.0
"""How long the download of a file from Discord may take."""

CHUNK_BYTES = 16_384

Completion: TypeAlias = Callable[[discord.AutocompleteContext], Coroutine[Any, Any, list[str]]]


class ApplyPanel(Panel):
    """The button *Change now*, below the answer to a choice while a call is running."""

    @discord.ui.button(label=texts.personas.APPLY_NOW, style=discord.ButtonStyle.primary, custom_id=APPLY_ID)
    async def apply(self, _: Any, interaction: discord.Interaction) -> None:
        """Give the call the persona of the person who pressed."""
        await self.answer(interaction, apply_now(self.services, guild_id_of(interaction), interaction.user))


async def apply_now(services: CommandServices, guild_id: int, member: Any) -> str:
    """Open the engine of the guild's call again, with this member's persona."""
    call = services.calls.call(guild_id)
    if call is None:
        return texts.personas.NO_CALL_HERE
    call.restart(await services.preferences.persona(guild_id, member.id))
    return texts.personas.APPLIED


def add_persona_commands(bot: discord.Bot, services: CommandServices) -> None:
    """/voice and /persona."""
    add_voice(bot, services)
    group = bot.create_group("persona", "Whom you talk with in the calls that you begin.", contexts=IN_GUILDS)
    add_choosing(group, services)
    add_keeping(group, services)
    add_files(group, services)


def add_voice(bot: discord.Bot, services: CommandServices) -> None:
    """/voice."""

    @bot.slash_command(name="voice", description="See or choose the voice of the calls that you start.", contexts=IN_GUILDS)
    @option("voice", str, description="Leave this out to see the current voice.", required=False, autocomplete=voices_of(services))
    async def voice(context: discord.ApplicationContext, voice: str | None = None) -> None:
        await (set_choice(context, services, voice=voice) if voice else show(context, services))


def add_choosing(group: discord.SlashCommandGroup, services: CommandServices) -> None:
    """/persona show, set, reset, list."""

    @group.command(name="show", description="See the persona of the calls that you start, and who chose it.")
    async def show_persona(context: discord.ApplicationContext) -> None:
        await show(context, services)

    @group.command(name="set", description="Choose the persona of the calls that you start.")
    @saved_persona_option(services)
    @own_words_options(services)
    async def set_persona(
        context: discord.ApplicationContext, name: str | None = None, role: str | None = None, voice: str | None = None
    ) -> None:
        await set_choice(context, services, name=name, role=role, voice=voice)

    @group.command(name="reset", description="Delete your own choice and use the server's persona again.")
    async def reset(context: discord.ApplicationContext) -> None:
        save_status = await services.preferences.change_person(context.author.id, lambda now: replace(now, choice=Choice()))
        await tell_choice(context, services, lambda persona: with_save_status(texts.personas.unset(persona), save_status))

    @group.command(name="list", description="See the saved personas: yours, the server's and mine.")
    async def list_personas(context: discord.ApplicationContext) -> None:
        own, guilds = await services.preferences.personas(own_of(context)), await services.preferences.personas(guild_of(context))
        await reply(context, texts.personas.persona_list(own, guilds, library()))


def add_keeping(group: discord.SlashCommandGroup, services: CommandServices) -> None:
    """/persona save and delete."""

    @group.command(name="save", description="Save a persona under a name: your current one, or the role and voice that you give.")
    @option("name", str, description="The name to save it under.", max_length=personafile.NAME_CHARACTERS)
    @own_words_options(services)
    @option("server", bool, description="Save it for everybody in this server (needs Manage Server).", required=False)
    async def save(
        context: discord.ApplicationContext, name: str, role: str | None = None, voice: str | None = None, *, server: bool = False
    ) -> None:
        now = await services.preferences.persona(guild_id_of(context), context.author.id)
        persona = Persona(voice=voice or now.voice, text_prompt=role or now.text_prompt)
        saved, save_status = await services.personas.save(owner_of(context, server=server), name, persona)
        await reply(context, with_save_status(texts.personas.saved(saved), save_status))

    @group.command(name="delete", description="Delete a saved persona of yours or of the server.")
    @option("name", str, description="Which one.", autocomplete=own_names_of(services))
    @option("server", bool, description="Delete the server's persona of that name (needs Manage Server).", required=False)
    async def delete(context: discord.ApplicationContext, name: str, *, server: bool = False) -> None:
        save_status = await services.personas.delete(owner_of(context, server=server), name)
        await reply(context, with_save_status(texts.personas.deleted(name), save_status))


def add_files(group: discord.SlashCommandGroup, services: CommandServices) -> None:
    """/persona import and export."""

    @group.command(name="import", description="Import personas from a file that /persona export made.")
    @option("file", discord.Attachment, description="The file.")
    @option("server", bool, description="For everybody in this server (needs Manage Server).", required=False)
    async def take_in(context: discord.ApplicationContext, file: discord.Attachment, *, server: bool = False) -> None:
        owner = owner_of(context, server=server)
        with services.personas.one_import(context.author.id):
            found, save_status = await services.personas.take_in(owner, await wait_for(content_of(file, context.bot.http), FILE_S))
        await reply(context, with_save_status(texts.personas.imported(found), save_status))

    @group.command(name="export", description="Get saved personas as a file.")
    @option("name", str, description="Only this one.", required=False, autocomplete=names_of(services))
    @option("server", bool, description="Export the server's personas instead of yours.", required=False)
    async def export(context: discord.ApplicationContext, name: str | None = None, *, server: bool = False) -> None:
        if name:
            found = [await services.personas.find(guild_id_of(context), context.author.id, name)]
        else:
            found = [*await services.preferences.personas(guild_of(context) if server else own_of(context))]
        if not found:
            await reply(context, texts.personas.NONE_SAVED)
            return
        file = discord.File(io.BytesIO(personafile.write(found).encode()), filename="personas.json")
        await reply(context, texts.personas.exported(len(found)), file=file)


async def content_of(file: discord.Attachment, http: discord.http.HTTPClient) -> bytes:
    """The content of a file. Raises StoreError if it is too large, by Discord's size or by what arrives."""
    content = bytearray()
    if file.size <= FILE_BYTES:
        async with contextlib.aclosing(http.stream_from_cdn(file.url, CHUNK_BYTES)) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > FILE_BYTES:
                    break
    if max(file.size, len(content)) > FILE_BYTES:
        raise StoreError(texts.personas.file_too_large(FILE_BYTES // 1000))
    return bytes(content)


# Shared by several commands


async def show(context: discord.ApplicationContext, services: CommandServices) -> None:
    """Answer with the persona of the calls that the caller starts."""
    persona = await services.preferences.persona(guild_id_of(context), context.author.id)
    own = (await services.preferences.person(context.author.id)).choice
    await reply(context, texts.personas.in_force(persona, own, services.preferences.guild(guild_id_of(context)).choice))


async def set_choice(context: discord.ApplicationContext, services: CommandServices, **wanted: str | None) -> None:
    """Save the caller's choice and answer when it applies. Raises StoreError if there is no such persona, or the engine would refuse it."""
    if not any(wanted.values()):
        await reply(context, texts.personas.NOTHING_GIVEN)
        return
    before = (await services.preferences.person(context.author.id)).choice
    choice = await services.personas.choice(guild_id_of(context), context.author.id, before=before, **wanted)
    save_status = await services.preferences.change_person(context.author.id, lambda now: replace(now, choice=choice))
    running = services.call_with(guild_id_of(context), context.author) is not None
    await tell_choice(context, services, lambda persona: with_save_status(texts.personas.chosen(persona, running=running), save_status))


async def tell_choice(context: discord.ApplicationContext, services: CommandServices, sentence: Callable[[Persona], str]) -> None:
    """Answer with the chosen persona, and with a button if a running call could change now."""
    persona = await services.preferences.persona(guild_id_of(context), context.author.id)
    running = services.call_with(guild_id_of(context), context.author)
    more = {"view": ApplyPanel()} if running else {}
    await reply(context, sentence(persona), **more)


def own_of(context: Any) -> Owner:
    """The owner of the caller's personas."""
    return Owner("person", context.author.id)


def guild_of(context: Any) -> Owner:
    """The owner of the server's personas."""
    return Owner("guild", guild_id_of(context))


def owner_of(context: discord.ApplicationContext, *, server: bool) -> Owner:
    """The owner whose personas are changed."""
    return guild_of(context) if server else own_of(context)


# Completions while somebody types


def saved_persona_option(services: CommandServices) -> Callable[[Command], Command]:
    """The option `name` of a command: a saved persona."""
    return option("name", str, description="A saved persona.", required=False, autocomplete=names_of(services))


def own_words_options(services: CommandServices) -> Callable[[Command], Command]:
    """The options `role` and `voice` of a command."""

    def decorate(function: Command) -> Command:
        role = option("role", str, description="The role, in your own words.", required=False, max_length=PROMPT_CHARACTERS)
        return role(option("voice", str, description="Its voice.", required=False, autocomplete=voices_of(services))(function))

    return decorate


def names_of(services: CommandServices) -> Completion:
    """Completes every persona that the person can choose."""

    async def complete(context: discord.AutocompleteContext) -> list[str]:
        user = context.interaction.user
        return await services.personas.matching(guild_id_of(context.interaction), user.id if user else 0, str(context.value or ""))

    return complete


def own_names_of(services: CommandServices) -> Completion:
    """Completes the person's own personas, or the server's if that option is set."""

    async def complete(context: discord.AutocompleteContext) -> list[str]:
        user, guild_id = context.interaction.user, guild_id_of(context.interaction)
        owner = Owner("guild", guild_id) if context.options.get("server") else Owner("person", user.id if user else 0)
        return await services.personas.matching(guild_id, owner.id, str(context.value or ""), owner=owner)

    return complete


def voices_of(services: CommandServices) -> Completion:
    """Completes the engine's voices."""

    async def complete(context: discord.AutocompleteContext) -> list[str]:
        return offers(services.voices, str(context.value or ""))

    return complete
