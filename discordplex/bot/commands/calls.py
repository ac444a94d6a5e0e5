"""Slash commands about the call: come, go, stop, go on, how it is."""

import discord

from discordplex.bot import texts
from discordplex.bot.commands.base import IN_GUILDS, CommandServices, guild_id_of, option, reply, voice_channel_id
from discordplex.bot.place import Place


def add_call_commands(bot: discord.Bot, services: CommandServices) -> None:
    """/join, /leave, /listen, /stop, /reset, /status, /queue, /latency."""

    @bot.slash_command(name="join", description="Call me into the voice channel that you are in.", contexts=IN_GUILDS)
    async def join(context: discord.ApplicationContext) -> None:
        await reply(context, await call_in(services, guild_id_of(context), context.author))

    @bot.slash_command(name="leave", description="Send me out of the voice channel.", contexts=IN_GUILDS)
    async def leave(context: discord.ApplicationContext) -> None:
        await reply(context, await send_away(services, guild_id_of(context), context.author))

    @bot.slash_command(name="listen", description="Let me go on after /stop, or call me.", contexts=IN_GUILDS)
    async def listen(context: discord.ApplicationContext) -> None:
        await reply(context, await go_on(services, guild_id_of(context), context.author))

    @bot.slash_command(name="stop", description="Stop me without sending me away: I hear nobody and say nothing.", contexts=IN_GUILDS)
    async def stop(context: discord.ApplicationContext) -> None:
        await reply(context, await stop_here(services, guild_id_of(context), context.author))

    @bot.slash_command(name="reset", description="Let me forget what was said in this call.", contexts=IN_GUILDS)
    async def reset(context: discord.ApplicationContext) -> None:
        await reply(context, forget(services, guild_id_of(context)))

    @bot.slash_command(name="status", description="See whom I talk with, who waits, and how I am.", contexts=IN_GUILDS)
    async def status(context: discord.ApplicationContext) -> None:
        await reply(context, texts.calls.status(services.calls.status(guild_id_of(context))))

    @bot.slash_command(
        name="queue", description="See who of this server waits for me, and how long that will take; or stop waiting.", contexts=IN_GUILDS
    )
    @option("leave", bool, description="Wait no more.", required=False)
    async def queue(context: discord.ApplicationContext, *, leave: bool = False) -> None:
        guild_id = guild_id_of(context)
        own = services.own_channels(guild_id, context.author) if leave else ()
        lines = [services.calls.leave_queue(guild_id, own)] if leave else services.calls.queue_lines(guild_id)
        await reply(context, "\n".join(lines) or texts.waiting.NOT_IN_QUEUE)

    @bot.slash_command(name="latency", description="See how fast this call is, measured.", contexts=IN_GUILDS)
    async def latency(context: discord.ApplicationContext) -> None:
        call = services.calls.call(guild_id_of(context))
        await reply(context, texts.calls.latency(call.metrics.snapshot()) if call else texts.calls.NO_CALL)


async def call_in(services: CommandServices, guild_id: int, member: discord.Member | discord.User) -> str:
    """Come to where this member sits; what came of it."""
    channel_id = voice_channel_id(member)
    return texts.calls.NOT_IN_VOICE if channel_id is None else await services.calls.join(Place(guild_id, channel_id), member.id)


async def send_away(services: CommandServices, guild_id: int, member: discord.Member | discord.User) -> str:
    """Leave the call and the queue in the channels in which this member has a say; what came of it."""
    return await services.calls.leave(guild_id, member.display_name, services.own_channels(guild_id, member))


def forget(services: CommandServices, guild_id: int) -> str:
    """Let the call's engine forget what was said; what came of it."""
    call = services.calls.call(guild_id)
    if call is None:
        return texts.calls.NO_CALL
    return texts.calls.FORGOTTEN if call.forget() else texts.calls.REMEMBERS_NOTHING


async def stop_here(services: CommandServices, guild_id: int, member: discord.Member | discord.User) -> str:
    """Neither hear nor speak from now on; what came of it."""
    call = services.calls.call(guild_id)
    if call is None:
        return texts.calls.NO_CALL
    if call.paused:
        return texts.calls.STOPPED_ALREADY
    await call.pause(member.display_name)
    return texts.calls.STOPPED


async def go_on(services: CommandServices, guild_id: int, member: discord.Member | discord.User) -> str:
    """Hear and speak again; without a call, come. What came of it."""
    call = services.calls.call(guild_id)
    if call is None:
        return await call_in(services, guild_id, member)
    if not call.paused:
        return texts.calls.LISTENS_ALREADY
    await call.resume(member.display_name)
    return texts.calls.LISTENS_AGAIN
