"""Noticeboard: which poster writes for which voice channel, and what has been said there already."""

import asyncio
import functools
from collections.abc import Hashable
from typing import Any

import discord
import structlog

from discordplex.bot.poster import Poster
from discordplex.bot.rooms import Room
from discordplex.bot.sessions import Place
from discordplex.clock import Clock
from discordplex.metrics import Metrics

log = structlog.get_logger()


class Noticeboard:
    """Captions and notices of every voice channel, each into the channel that the setting names for it. Thread: loop."""

    def __init__(self, *, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._posters: dict[int, Poster] = {}
        self._spares: dict[int, Any | None] = {}
        self._diverted: dict[Place, Any] = {}
        self._told: dict[Place, set[str]] = {}

    def say(self, room: Room, text: str, *, key: Hashable = None, view: discord.ui.View | None = None) -> None:
        """Write a notice, with the buttons of `view`; the same `key` again replaces it. Where we may not write, nothing is said."""
        poster = self._poster(room.notices_channel)
        if poster:
            self._spares[poster.channel.id] = room.spare_channel
            poster.notice(text, key=key, view=view)

    def say_once(self, room: Room, text: str, *, key: Hashable = None) -> None:
        """Write a notice unless these very words were said there since `forget`."""
        told = self._told.setdefault(room.place, set())
        if text not in told:
            told.add(text)
            self.say(room, text, key=key)

    def caption(self, room: Room, key: Hashable, text: str, *, final: bool) -> None:
        """Write what somebody says: the whole stretch so far."""
        poster = self._poster(self._diverted.get(room.place) or room.captions_channel)
        if poster:
            poster.caption(key, text, final=final)

    def divert(self, place: Place, channel: Any | None) -> None:
        """Captions of this place go into another channel, such as a thread; None ends that."""
        if channel is None:
            self._diverted.pop(place, None)
        else:
            self._diverted[place] = channel

    def forget(self, place: Place) -> None:
        """Nobody is there any more who has read it, or it is not true any more: everything may be said again."""
        self._told.pop(place, None)

    async def flush(self) -> None:
        """Return when all that was said is written."""
        await asyncio.gather(*(poster.flush() for poster in self._posters.values()))

    async def close(self) -> None:
        """Stop writing everywhere; what is not written stays so, and is logged as a number."""
        unwritten = sum(not poster.idle for poster in self._posters.values())
        await asyncio.gather(*(poster.close() for poster in self._posters.values()))
        self._posters.clear()
        if unwritten:
            log.warning("captions were left unwritten", channels=unwritten)

    def _poster(self, channel: Any | None) -> Poster | None:
        if channel is None:
            return None
        poster = self._posters.get(channel.id)
        if poster is None:
            say_elsewhere = functools.partial(self._say_elsewhere, channel.id)
            poster = Poster(channel, clock=self._clock, metrics=self._metrics, on_refused=say_elsewhere)
            self._posters[channel.id] = poster
        return poster

    def _say_elsewhere(self, channel_id: int, text: str) -> None:
        """Discord refused a notice although nothing spoke against it."""
        spare = self._spares.get(channel_id)
        poster = self._poster(spare) if spare is not None and spare.id != channel_id else None
        if poster:
            poster.notice(text)
