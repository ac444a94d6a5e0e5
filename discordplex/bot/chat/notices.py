"""Notices: which poster writes for which voice channel, and what has been said there already."""

import asyncio
import functools
from collections.abc import Callable, Collection, Hashable
from typing import Any, Protocol

import aiohttp
import discord
import structlog

from discordplex.bot import texts
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.chat.poster import DeliveryStatus, Poster
from discordplex.bot.place import Place
from discordplex.bounded import drop_oldest
from discordplex.clock import Clock
from discordplex.metrics import Metrics

log = structlog.get_logger()

MOST_POSTERS = 500
"""Channels whose writer is kept. Then those that have nothing to write go, the one that was used longest ago first."""

MOST_PLACES, MOST_TOLD = 1000, 50
"""Voice channels of which it is known what was said there, and sentences for each. What is forgotten may be said again."""


class UnfinishedNotices(Protocol):
    """Where the messages that say that a call goes on are remembered, so that they are edited although the process was killed."""

    def began(self, guild_id: int, channel_id: int, message_id: int) -> None:
        """This message says that a call goes on. Calling it again for the same message does nothing."""
        ...

    def ended(self, message_id: int) -> None:
        """It does not say so any more, or it is gone."""
        ...


class LeftMessage:
    """A message that an earlier process wrote into a channel: to be edited, without its buttons."""

    def __init__(self, channel: Any, message_id: int) -> None:
        """`channel` is py-cord's."""
        self.id = message_id
        self._message = channel.get_partial_message(message_id)

    async def edit(self, *, content: str, allowed_mentions: discord.AllowedMentions) -> None:
        """Replace its text and take its buttons away."""
        await self._message.edit(content=content, view=None, suppress=True, allowed_mentions=allowed_mentions)

    async def delete(self) -> None:
        """Take it back."""
        await self._message.delete()


class Notices:
    """Captions and notices of every voice channel, each into the channel that the setting names for it. Thread: loop."""

    def __init__(self, *, clock: Clock, metrics: Metrics, unfinished: UnfinishedNotices | None = None) -> None:
        """`unfinished` remembers the messages that say that a call goes on."""
        self.clock = clock
        self._unfinished = unfinished
        self._metrics = metrics
        self._posters: dict[int, Poster] = {}
        self._spares: dict[int, Any | None] = {}
        self._diverted: dict[Place, Any] = {}
        self._told: dict[Place, dict[int, None]] = {}
        """Hashes of what was said, oldest first."""

    def say(self, voice_channel: VoiceChannel, text: str, *, key: Hashable = None) -> None:
        """Write a notice; the same `key` again replaces it. Where we may not write, nothing is said."""
        poster = self._poster(voice_channel.notices_channel)
        if poster:
            self._spares[poster.channel.id] = voice_channel.spare_channel
            poster.notice(text, key=key)

    def say_about(self, voice_channel: VoiceChannel, named: str, unnamed: str, *, key: Hashable = None) -> None:
        """Write a notice about a person: `named` where all who read it can see the voice channel, `unnamed` elsewhere."""
        poster = self._poster(voice_channel.notices_channel)
        if poster is None:
            return
        channel_id = poster.channel.id
        self._spares[channel_id] = voice_channel.spare_channel

        def on_delivery(status: DeliveryStatus, _message_id: int | None) -> None:
            if status == "refused":
                self._say_elsewhere(channel_id, unnamed)

        poster.notice(named if voice_channel.readers_see_it else unnamed, key=key, on_delivery=on_delivery)

    def say_once(self, voice_channel: VoiceChannel, text: str, *, key: Hashable = None) -> None:
        """Write a notice unless these very words were said there since `forget`."""
        told = self._told.pop(voice_channel.place, {})
        self._told[voice_channel.place] = told  # used last
        if hash(text) not in told:
            told[hash(text)] = None
            self.say(voice_channel, text, key=key)
        drop_oldest(told, MOST_TOLD)
        drop_oldest(self._told, MOST_PLACES)

    def say_in(
        self,
        channel: Any,
        text: str,
        *,
        key: Hashable,
        view: discord.ui.View | None = None,
        last: bool = False,
        on_delivery: Callable[[DeliveryStatus], None] | None = None,
        call_in: int | None = None,
    ) -> None:
        """Write a notice into this very channel, as `Poster.notice` does.

        One that says that a call goes on names the call's guild, `call_in`: it is remembered until a `last` one has replaced it.
        """

        def delivered(status: DeliveryStatus, message_id: int | None) -> None:
            if self._unfinished and message_id is not None:
                if status == "deleted" or (status == "taken" and last):
                    self._unfinished.ended(message_id)
                elif status == "taken" and call_in is not None:
                    self._unfinished.began(call_in, channel.id, message_id)
            if on_delivery:
                on_delivery(status)

        poster = self._poster(channel)
        if poster:
            told = delivered if on_delivery or last or call_in is not None else None
            poster.notice(text, key=key, view=view, last=last, on_delivery=told)

    def replace(self, channel: Any, message_id: int, text: str) -> None:
        """Let an unfinished notice that an earlier process left say this, without buttons. One that is gone or closed is forgotten."""

        def delivered(_status: DeliveryStatus, _message_id: int | None) -> None:
            if self._unfinished:
                self._unfinished.ended(message_id)

        poster = self._poster(channel)
        if poster:
            poster.replace(LeftMessage(channel, message_id), text, on_delivery=delivered)

    def caption(self, voice_channel: VoiceChannel, key: Hashable, text: str, *, final: bool, speaker: int | None = None) -> None:
        """Write what somebody says: the whole stretch so far."""
        poster = self._poster(self.captions_channel(voice_channel))
        if poster:
            poster.caption(key, text, final=final, speaker=speaker)

    def captions_channel(self, voice_channel: VoiceChannel) -> Any | None:
        """Where captions of this voice channel go; None where nowhere."""
        return self._diverted.get(voice_channel.place) or voice_channel.captions_channel

    def drop_captions(self, *, speaker: int | None = None, call: int | None = None) -> None:
        """Write nothing more of what this person, or anybody in this call, has said."""
        for poster in self._posters.values():
            poster.drop_captions(lambda key, who: speaker == who or (call is not None and is_of(key, call)))

    def deleted(self, channel_id: int, message_ids: Collection[int]) -> None:
        """Somebody deleted these messages."""
        poster = self._posters.get(channel_id)
        if poster:
            poster.deleted(message_ids)

    def finish(self, call: int) -> None:
        """The call is over: nothing of it changes any more once it is written."""
        for poster in self._posters.values():
            poster.finish(lambda key: is_of(key, call))

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
            log.warning("captions not written", channels=unwritten)

    def _poster(self, channel: Any | None) -> Poster | None:
        if channel is None:
            return None
        poster = self._posters.pop(channel.id, None)
        if poster is None:
            self._make_room()
            say_elsewhere = functools.partial(self._say_elsewhere, channel.id)
            poster = Poster(channel, clock=self.clock, metrics=self._metrics, on_refused=say_elsewhere)
        self._posters[channel.id] = poster  # used last
        return poster

    def _make_room(self) -> None:
        """Let go of writers that have nothing to do and may write again at once: a new one keeps the pace."""
        idle = [channel_id for channel_id, poster in self._posters.items() if poster.forgettable]
        for channel_id in idle[: max(0, len(self._posters) - MOST_POSTERS + 1)]:
            del self._posters[channel_id]
            self._spares.pop(channel_id, None)

    def _say_elsewhere(self, channel_id: int, text: str) -> None:
        """Discord refused a notice although nothing spoke against it."""
        spare = self._spares.get(channel_id)
        poster = self._poster(spare) if spare is not None and spare.id != channel_id else None
        if poster:
            poster.notice(text)


def is_of(key: Hashable, call: int) -> bool:
    """Whether what is kept under a key is a call's: it begins with the call's number."""
    return isinstance(key, tuple) and key[:1] == (call,)


async def open_captions_thread(voice_channel: VoiceChannel, notices: Notices, ids: dict[str, Any]) -> Any | None:
    """Open a thread, send the captions of this place there, and say where it is; None where that is impossible.

    `ids` name the call in the log.
    """
    try:
        thread = await voice_channel.open_thread()
    except (discord.HTTPException, aiohttp.ClientError, OSError) as fault:
        log.warning("captions thread not created", cause=type(fault).__name__, **ids)
        return None
    if thread:
        notices.divert(voice_channel.place, thread)
        notices.say(voice_channel, texts.waiting.captions_in(thread.id))
    return thread
