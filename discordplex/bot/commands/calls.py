"""Slash commands about the call: join, leave, pause, continue, reset, status, queue, latency."""

import discord

from discordplex.bot import texts
from discordplex.bot.commands.base import IN_GUILDS, CommandServices, guild_id_of, option, reply, voice_channel_id
from discordplex.bot.place import Place


def add_call_commands(bot: discord.Bot, services: CommandServices) -> None:
    """/join, /leave, /listen, /stop, /reset, /status, /queue, /latency."""

    @bot.slash_command(name="join", description="Call me into your voice channel.", contexts=IN_GUILDS)
    async def join(context: discord.ApplicationContext) -> None:
        await reply(context, await call_in(services, guild_id_of(context), context.author))

    @bot.slash_command(name="leave", description="Send me away from the voice channel.", contexts=IN_GUILDS)
    async def leave(context: discord.ApplicationContext) -> None:
        await reply(context, await send_away(services, guild_id_of(context), context.author))

    @bot.slash_command(name="listen", description="Let me continue after /stop. Without a call, this works like /join.", contexts=IN_GUILDS)
    async def listen(context: discord.ApplicationContext) -> None:
        await reply(context, await go_on(services, guild_id_of(context), context.author))

    @bot.slash_command(name="stop", description="Pause me: I hear nobody and say nothing until /listen.", contexts=IN_GUILDS)
    async def stop(context: discord.ApplicationContext) -> None:
        await reply(context, await stop_here(services, guild_id_of(context), context.author))

    @bot.slash_command(name="reset", description="Make me forget what was said in this call.", contexts=IN_GUILDS)
    async def reset(context: discord.ApplicationContext) -> None:
        await reply(context, forget(services, guild_id_of(context)))

    @bot.slash_command(name="status", description="See the current call, the engines in use and the queue.", contexts=IN_GUILDS)
    async def status(context: discord.ApplicationContext) -> None:
        await reply(context, texts.calls.status(services.calls.status(guild_id_of(context))))

    @bot.slash_command(
        name="queue", description="See who in this server waits for me and how long it takes, or leave the queue.", contexts=IN_GUILDS
    )
    @option("leave", bool, description="Leave the queue.", required=False)
    async def queue(context: discord.ApplicationContext, *, leave: bool = False) -> None:
        guild_id = guild_id_of(context)
        own = services.own_channels(guild_id, context.author) if leave else ()
        lines = [services.calls.leave_queue(guild_id, own)] if leave else services.calls.queue_lines(guild_id)
        await reply(context, "\n".join(lines) or texts.waiting.NOT_IN_QUEUE)

    @bot.slash_command(name="latency", description="See how fast this call is.", contexts=IN_GUILDS)
    async def latency(context: discord.ApplicationContext) -> None:
        call = services.calls.call(guild_id_of(context))
        await reply(context, texts.calls.latency(call.metrics.snapshot()) if call else texts.calls.NO_CALL)


async def call_in(services: CommandServices, guild_id: int, member: discord.Member | discord.User) -> str:
    """Join the voice channel of this member; returns the answer."""
    channel_id = voice_channel_id(member)
    return texts.calls.NOT_IN_VOICE if channel_id is None else await services.calls.join(Place(guild_id, channel_id), member.id)


async def send_away(services: CommandServices, guild_id: int, member: discord.Member | discord.User) -> str:
    """Leave the call and the queue in the channels that this member may decide about; returns the answer."""
    return await services.calls.leave(guild_id, member.display_name, services.own_channels(guild_id, member))


def forget(services: CommandServices, guild_id: int) -> str:
    """Make the engine of the call forget what was said; returns the answer."""
    call = services.calls.call(guild_id)
    if call is None:
        return texts.calls.NO_CALL
    return texts.calls.STARTS_OVER if call.reset() else texts.calls.FORGOTTEN


async def stop_here(services: CommandServices, guild_id: int, member: discord.Member | discord.User) -> str:
    """Pause the call; returns the answer."""
    call = services.calls.call(guild_id)
    if call is None:
        return texts.calls.NO_CALL
    if call.paused:
        return texts.calls.STOPPED_ALREADY
    await call.pause(member.display_name)
    return texts.calls.STOPPED


async def go_on(services: CommandServices, guild_id: int, member: discord.Member | discord.User) -> str:
    """Continue the call, or join where there is none; returns the answer."""
    call = services.calls.call(guild_id)
    if call is None:
        return await call_in(services, guild_id, member)
    if not call.paused:
        return texts.calls.LISTENS_ALREADY
    await call.resume(member.display_name)
    return texts.calls.LISTENS_AGAIN
