"""Entry: from wanting to be in a voice channel to being allowed to speak there."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import discord
import structlog

from discordplex.bot import replies
from discordplex.bot.noticeboard import Noticeboard
from discordplex.bot.rooms import Room
from discordplex.bot.stage import take_the_stage
from discordplex.errors import VoiceError
from discordplex.logs import place_of
from discordplex.voice.client import VoiceConnection

log = structlog.get_logger()

JOIN_TIMEOUT_S = 15.0
"""Where Discord does not want us it stays silent. A join takes 0.3 s when all is well, and some seconds when Discord is slow."""


async def enter(
    room: Room, make: Callable[[discord.Client, Any], VoiceConnection], *, notices: Noticeboard, stirred: asyncio.Event, ids: dict[str, Any]
) -> str | None:
    """Enter the channel with a connection that `make` makes, and on a stage be let speak; None where that worked, else why not.

    `stirred` is set whenever something about who is in the channel changes; `ids` name the call in the log.
    """
    try:
        await room.connect(make, timeout_s=JOIN_TIMEOUT_S)
    except VoiceError as refusal:
        log.warning("join refused", cause=place_of(refusal), code=refusal.code, **ids)
        return str(refusal)
    except asyncio.TimeoutError:
        log.warning("join timed out", timeout_s=JOIN_TIMEOUT_S, **ids)
        return replies.NOT_LET_IN
    except (discord.DiscordException, aiohttp.ClientError, OSError) as fault:
        log.warning("join failed", cause=type(fault).__name__, **ids)
        return replies.NO_VOICE_ROOM
    return await take_the_stage(room, notices=notices, stirred=stirred)
