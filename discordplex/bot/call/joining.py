"""Joining a voice channel, and being allowed to speak there."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import discord
import structlog

from discordplex.bot import texts
from discordplex.bot.call.interface import Next, Outcome
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.chat.notices import Notices
from discordplex.errors import VoiceError
from discordplex.logs import place_of
from discordplex.tasks import wait_for
from discordplex.voice.connection import VoiceConnection

log = structlog.get_logger()


PATIENCE_S = 60.0
"""How long a moderator may take to let the bot speak. Meanwhile the call holds an engine that others wait for."""

JOIN_TIMEOUT_S = 15.0
"""Discord does not answer if the bot may not join. A join takes 0.3 s normally, and some seconds when Discord is slow."""


async def enter(
    voice_channel: VoiceChannel,
    make: Callable[[discord.Client, Any], VoiceConnection],
    *,
    notices: Notices,
    changed: asyncio.Event,
    ids: dict[str, Any],
) -> Outcome | None:
    """Join the channel with a connection from `make`; on a stage, wait for permission to speak. Returns None, or how it failed.

    `changed` is set whenever a voice state in the channel changes; `ids` identify the call in the log.
    """
    try:
        await voice_channel.connect(make, timeout_s=JOIN_TIMEOUT_S)
    except VoiceError as refusal:
        log.warning("join refused", cause=place_of(refusal), code=refusal.code, **ids)
        return Outcome(str(refusal), Next.RETRY)
    except asyncio.TimeoutError:
        log.warning("join timed out", timeout_s=JOIN_TIMEOUT_S, **ids)
        return Outcome(texts.calls.NOT_LET_IN, Next.RETRY)
    except (discord.DiscordException, aiohttp.ClientError, OSError) as fault:
        log.warning("join failed", cause=type(fault).__name__, **ids)
        return Outcome(texts.calls.NO_VOICE_ROOM, Next.RETRY)
    return await take_the_stage(voice_channel, notices=notices, changed=changed)


async def take_the_stage(voice_channel: VoiceChannel, *, notices: Notices, changed: asyncio.Event, ask: bool = False) -> Outcome | None:
    """Wait until the bot may speak in this channel, and return None; at once if it is no stage. After `PATIENCE_S`, return why not.

    `changed` is set whenever a voice state in the channel changes. With `ask`, a moderator must allow it, even if the bot could do so
    itself. A call that was not allowed to speak is not tried again by itself, because that would ask again.
    """
    if not voice_channel.suppressed:
        return None
    try:
        if await voice_channel.ask_to_speak(take=not ask):
            notices.say(voice_channel, texts.waiting.ASKED_TO_SPEAK)
    except (discord.HTTPException, aiohttp.ClientError, OSError) as fault:
        log.warning("not allowed to ask for the stage", channel=voice_channel.place.channel_id, cause=type(fault).__name__)
        return Outcome(texts.waiting.STAGE_CLOSED)
    try:
        await wait_for(_until_allowed(voice_channel, changed), PATIENCE_S)
    except asyncio.TimeoutError:
        return Outcome(texts.waiting.NOT_LET_SPEAK)
    return None


async def _until_allowed(voice_channel: VoiceChannel, changed: asyncio.Event) -> None:
    while voice_channel.suppressed:
        changed.clear()
        await changed.wait()
