"""A thread for a call's captions, where the guild wants one for each call."""

from typing import Any

import aiohttp
import discord
import structlog

from discordplex.bot import courtesy
from discordplex.bot.noticeboard import Noticeboard
from discordplex.bot.rooms import Room

log = structlog.get_logger()


async def open_captions_thread(room: Room, notices: Noticeboard, ids: dict[str, Any]) -> Any | None:
    """Open a thread, send the captions of this place there, and say where it is; None where that is impossible.

    `ids` name the call in the log.
    """
    try:
        thread = await room.open_thread()
    except (discord.HTTPException, aiohttp.ClientError, OSError) as fault:
        log.warning("no thread for captions", cause=type(fault).__name__, **ids)
        return None
    if thread:
        notices.divert(room.place, thread)
        notices.say(room, courtesy.captions_in(thread.id))
    return thread
