"""VoiceStatus: the line below a voice channel's name, for as long as a call is there."""

import asyncio
import contextlib

import aiohttp
import discord
import structlog

from discordplex.bot.chat.channel import VoiceChannel
from discordplex.clock import Clock

log = structlog.get_logger()

INTERVAL_S = 10.0
"""At most one change in so long: each is an event for every member of the guild, and nobody reads the line more often. Discord documents no
limit of its own for it; its headers are obeyed all the same, by the library."""

CLEAR_S = 1.0
"""How long clearing it may take. It cannot wait for its turn: once we have left the channel we are not allowed to any more."""

FAULTS = (discord.HTTPException, aiohttp.ClientError, OSError, asyncio.TimeoutError)


class VoiceStatus:
    """Keeps one channel's line at the newest wish. Thread: loop. A channel in which we may not write it is left alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._voice_channel: VoiceChannel | None = None
        self._wanted: str | None = None
        self._shown: str | None = None
        self._next_at = clock.now()
        self._task: asyncio.Task[None] | None = None

    def show(self, voice_channel: VoiceChannel, text: str) -> None:
        """Say this from now on; at once, or when it is time for another change."""
        self._voice_channel, self._wanted = voice_channel, text
        if text != self._shown and voice_channel.may_set_status and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._write(), name=f"voice status:{voice_channel.place.channel_id}")

    async def clear(self) -> None:
        """Leave the line empty, if we wrote it; returns in about `CLEAR_S` in any case."""
        self._wanted = None
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._voice_channel and self._shown:
            self._shown = None
            with contextlib.suppress(*FAULTS):
                await asyncio.wait_for(self._voice_channel.set_status(None), CLEAR_S)

    async def _write(self) -> None:
        while self._voice_channel and self._wanted and self._wanted != self._shown:
            await self._clock.sleep_until(self._next_at)
            voice_channel, text = self._voice_channel, self._wanted
            self._next_at = self._clock.now() + INTERVAL_S
            self._shown = text  # also where it is cancelled or fails half way: then it may stand there
            try:
                await voice_channel.set_status(text)
            except FAULTS as fault:
                log.info("voice status not set", channel=voice_channel.place.channel_id, cause=type(fault).__name__)
