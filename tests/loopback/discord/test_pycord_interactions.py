"""Slash commands, buttons and modals of a real py-cord bot, used by people of the loopback."""

import asyncio
import io
from typing import Any

import discord
import pytest

from discordplex.loopback import timeouts
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.files import Upload
from tests.loopback.discord.clients import logged_in


async def registered(loopback: LoopbackDiscord) -> None:
    await loopback.wait_for(lambda: any(loopback.world.commands.values()))


async def test_a_command_is_registered_used_and_answered(loopback: LoopbackDiscord) -> None:
    """A person's /greet reaches the bot with its option, its author and their voice channel, and the ephemeral reply comes back."""
    seen: list[discord.ApplicationContext] = []

    def set_up(bot: discord.Bot) -> None:
        @bot.slash_command(description="Greets somebody")
        async def greet(
            ctx: discord.ApplicationContext,
            who: discord.Option(discord.Member, "whom"),  # type: ignore[valid-type]  # py-cord reads the annotation
            times: discord.Option(int, required=False),  # type: ignore[valid-type]  # the same
        ) -> None:
            seen.append(ctx)
            await ctx.respond(f"Hello {who.display_name} {times}", ephemeral=True)

    ada, ben, guild = loopback.people[0], loopback.people[1], loopback.guilds[0]
    loopback.enter(ada, guild.voice_channels[0])
    async with logged_in(loopback, loopback.bots[0], set_up):
        await registered(loopback)
        reply = await loopback.press_slash(ada, guild, "greet", {"who": ben.id, "times": 2})
        author = seen[0].author
        assert isinstance(author, discord.Member)
        assert author.voice
        assert str(author.voice.channel) == "Lounge"
        with pytest.raises(LookupError, match="needs the option 'who'"):
            await loopback.press_slash(ada, guild, "greet")
        with pytest.raises(LookupError, match=r"no application has registered /wave; registered are: greet"):
            await loopback.press_slash(ada, guild, "wave")
    assert (reply.content, reply.ephemeral, reply.deferred) == ("Hello Ben 2", True, False)
    assert loopback.messages(guild.text_channel) == []
    assert not loopback.unknown_routes


async def test_a_deferred_reply_is_filled_in(loopback: LoopbackDiscord) -> None:
    """After a deferral the first follow-up becomes the reply; it can be edited, and a second one stands beside it."""

    def set_up(bot: discord.Bot) -> None:
        @bot.slash_command(description="Takes its time")
        async def slow(ctx: discord.ApplicationContext) -> None:
            await ctx.defer()
            await ctx.followup.send("first")
            await ctx.edit(content="first, edited")
            await ctx.followup.send("second")

    async with logged_in(loopback, loopback.bots[0], set_up):
        await registered(loopback)
        place = loopback.guilds[0].text_channel
        reply = await loopback.press_slash(loopback.people[0], place, "slow")
        assert reply.deferred
        await loopback.wait_for(lambda: reply.followups)
    assert reply.content == "first, edited"
    assert [message.content for message in loopback.messages(place)] == ["first, edited", "second"]


async def test_no_answer_in_time_is_a_failure() -> None:
    """An application that does not answer in time has failed, and its late answer is refused with code 10062."""
    late: asyncio.Future[discord.NotFound] = asyncio.get_running_loop().create_future()
    go_on = asyncio.Event()

    def set_up(bot: discord.Bot) -> None:
        @bot.slash_command(description="Sleeps")
        async def sleepy(ctx: discord.ApplicationContext) -> None:
            await go_on.wait()
            try:
                await ctx.respond("late")
            except discord.NotFound as refused:
                late.set_result(refused)

    async with LoopbackDiscord(answer_within_s=0.05) as loopback, logged_in(loopback, loopback.bots[0], set_up):
        await registered(loopback)
        reply = await loopback.press_slash(loopback.people[0], loopback.guilds[0], "sleepy")
        assert reply.failed
        assert reply.content == ""
        go_on.set()
        assert (await timeouts.wait_for(late, 5)).code == 10062


async def test_subcommands_and_completions(loopback: LoopbackDiscord) -> None:
    """A subcommand is used by its written name, and an option's completions come from the bot."""

    def complete(ctx: discord.AutocompleteContext) -> list[str]:
        return [name for name in ("bright", "brisk", "calm") if name.startswith(ctx.value or "")]

    def set_up(bot: discord.Bot) -> None:
        persona = bot.create_group("persona", "Who answers")

        @persona.command(description="Choose a voice")
        async def voice(
            ctx: discord.ApplicationContext,
            voice: discord.Option(str, autocomplete=complete),  # type: ignore[valid-type]  # py-cord reads the annotation
        ) -> None:
            await ctx.respond(f"now {voice}")

    async with logged_in(loopback, loopback.bots[0], set_up):
        await registered(loopback)
        ada, guild = loopback.people[0], loopback.guilds[0]
        choices = await loopback.complete_slash(ada, guild, "persona voice", {"voice": "br"}, focused="voice")
        assert [choice["value"] for choice in choices] == ["bright", "brisk"]
        assert (await loopback.press_slash(ada, guild, "persona voice", {"voice": "calm"})).content == "now calm"
        with pytest.raises(LookupError, match="needs a subcommand"):
            await loopback.press_slash(ada, guild, "persona")


async def test_a_button_and_a_modal(loopback: LoopbackDiscord) -> None:
    """A press on a button opens a modal, and what is typed there comes to the bot."""

    class Form(discord.ui.Modal):
        def __init__(self) -> None:
            super().__init__(discord.ui.InputText(label="Word", custom_id="word"), title="Say", custom_id="form")

        async def callback(self, interaction: discord.Interaction) -> None:
            data: Any = interaction.data
            await interaction.response.send_message(f"you said {data['components'][0]['components'][0]['value']}", ephemeral=True)

    class Panel(discord.ui.View):
        @discord.ui.button(label="Say", custom_id="say")
        async def say(self, _: Any, interaction: discord.Interaction) -> None:
            await interaction.response.send_modal(Form())

        @discord.ui.button(label="Off", custom_id="off")
        async def off(self, _: Any, interaction: discord.Interaction) -> None:
            await interaction.response.edit_message(content="off", view=None)

    async with logged_in(loopback, loopback.bots[0]) as bot:
        place = loopback.guilds[0].text_channel
        channel = bot.get_channel(int(place.id))
        assert isinstance(channel, discord.TextChannel)
        panel = Panel(timeout=None)
        await channel.send("panel", view=panel)
        (shown,) = loopback.messages(place)
        opened = await loopback.press_button(shown, "say", loopback.people[0])
        assert (await loopback.submit_modal(opened, {"word": "tea"})).content == "you said tea"
        await loopback.press_button(shown, "off", loopback.people[0])
        assert (shown.content, shown.body["components"]) == ("off", [])
        with pytest.raises(LookupError, match="shows no component 'say'"):
            await loopback.press_button(shown, "say", loopback.people[0])
        panel.stop()
    assert not loopback.unknown_routes


async def test_files_go_both_ways(loopback: LoopbackDiscord) -> None:
    """A person attaches a file to a command, the bot reads it, and what the bot attaches to its reply can be fetched."""

    def set_up(bot: discord.Bot) -> None:
        @bot.slash_command(description="Turns a file round")
        async def turn(
            ctx: discord.ApplicationContext,
            file: discord.Option(discord.Attachment),  # type: ignore[valid-type]  # py-cord reads the annotation
        ) -> None:
            await ctx.defer(ephemeral=True)
            turned = (await file.read())[::-1]
            await ctx.respond(f"{file.filename}, {file.size} bytes", file=discord.File(io.BytesIO(turned), filename="turned.txt"))

    async with logged_in(loopback, loopback.bots[0], set_up):
        await registered(loopback)
        upload = Upload("a b.txt", b"drawer")
        reply = await loopback.press_slash(loopback.people[0], loopback.guilds[0], "turn", {"file": upload})
    assert reply.content == "a b.txt, 6 bytes"
    assert reply.reply
    assert loopback.files(reply.reply) == [Upload("turned.txt", b"reward")]
