"""Stages: who enters one is in the audience, and has to be let speak."""

import asyncio

import aiohttp
import discord
import structlog

from discordplex.bot import courtesy
from discordplex.bot.noticeboard import Noticeboard
from discordplex.bot.rooms import Room

log = structlog.get_logger()

PATIENCE_S = 60.0
"""How long a moderator has to let us speak: meanwhile we keep an engine from others."""


async def take_the_stage(room: Room, *, notices: Noticeboard, stirred: asyncio.Event) -> str | None:
    """Return None once we may speak in this channel, at once where it is no stage; else why not, after `PATIENCE_S`.

    `stirred` is set whenever something about who is in the channel changes.
    """
    if not room.suppressed:
        return None
    try:
        if await room.ask_to_speak():
            notices.say(room, courtesy.ASKED_TO_SPEAK)
    except (discord.HTTPException, aiohttp.ClientError, OSError) as fault:
        log.warning("not allowed to ask for the stage", channel=room.place.channel_id, cause=type(fault).__name__)
        return courtesy.STAGE_CLOSED
    try:
        await asyncio.wait_for(_until_allowed(room, stirred), PATIENCE_S)
    except asyncio.TimeoutError:
        return courtesy.NOT_LET_SPEAK
    return None


async def _until_allowed(room: Room, stirred: asyncio.Event) -> None:
    while room.suppressed:
        stirred.clear()
        await stirred.wait()
