"""VoiceStatus: the status line of a voice channel during a call."""

import asyncio
import contextlib

import aiohttp
import discord
import structlog

from discordplex.bot.chat.channel import VoiceChannel
from discordplex.clock import Clock
from discordplex.tasks import wait_for

log = structlog.get_logger()

INTERVAL_S = 10.0
"""At most one change per interval: each change is an event for every member of the guild. Discord documents no limit for it; the library
obeys its rate limit headers."""

CLEAR_S = 1.0
"""How long clearing may take. It cannot wait for its interval: after leaving the channel, the bot may not clear it any more."""

FAULTS = (discord.HTTPException, aiohttp.ClientError, OSError, asyncio.TimeoutError)


class VoiceStatus:
    """Keeps the line of one channel up to date, if the bot may write it. Thread: loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._voice_channel: VoiceChannel | None = None
        self._wanted: str | None = None
        self._shown: str | None = None
        self._next_at = clock.now()
        self._task: asyncio.Task[None] | None = None

    def show(self, voice_channel: VoiceChannel, text: str) -> None:
        """Show this text, at once or when the next change is allowed."""
        self._voice_channel, self._wanted = voice_channel, text
        if text != self._shown and voice_channel.may_set_status and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._write(), name=f"voice status:{voice_channel.place.channel_id}")

    async def clear(self) -> None:
        """Clear the line, if the bot wrote it; takes at most about `CLEAR_S`."""
        self._wanted = None
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._voice_channel and self._shown:
            self._shown = None
            with contextlib.suppress(*FAULTS):
                await wait_for(self._voice_channel.set_status(None), CLEAR_S)

    async def _write(self) -> None:
        while self._voice_channel and self._wanted and self._wanted != self._shown:
            await self._clock.sleep_until(self._next_at)
            voice_channel, text = self._voice_channel, self._wanted
            self._next_at = self._clock.now() + INTERVAL_S
            self._shown = text  # even if it is cancelled or fails: it may have been written
            try:
                await voice_channel.set_status(text)
            except FAULTS as fault:
                log.info("voice status not set", channel=voice_channel.place.channel_id, cause=type(fault).__name__)
