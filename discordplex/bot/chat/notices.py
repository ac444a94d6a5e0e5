"""Notices: which poster writes for which voice channel, and what was already posted there."""

import asyncio
import functools
from collections.abc import Callable, Collection, Hashable
from typing import Any, Final, Protocol

import aiohttp
import discord
import structlog

from discordplex.bot import texts
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.chat.poster import DeliveryStatus, Poster
from discordplex.bot.cooldowns import Cooldowns, Rate
from discordplex.bot.place import Place
from discordplex.bounded import drop_oldest
from discordplex.clock import Clock
from discordplex.metrics import Metrics

log = structlog.get_logger()

MOST_POSTERS = 500
"""The most posters that are kept. After that, idle ones are dropped, the least recently used first."""

MOST_PLACES, MOST_TOLD = 1000, 50
"""The most voice channels whose notices are remembered, and the most notices of each. A forgotten notice may be posted again."""


class UnfinishedNotices(Protocol):
    """Remembers the messages that say that a call is running, so that they can be edited even if the process is killed."""

    def began(self, guild_id: int, channel_id: int, message_id: int) -> None:
        """This message says that a call is running. Calling it again for the same message does nothing."""
        ...

    def ended(self, message_id: int) -> None:
        """The message no longer says so, or is gone."""
        ...


class LeftMessage:
    """A message of an earlier process in a channel, which can be edited and loses its buttons."""

    def __init__(self, channel: Any, message_id: int) -> None:
        """`channel` is py-cord's."""
        self.id = message_id
        self._message = channel.get_partial_message(message_id)

    async def edit(self, *, content: str, allowed_mentions: discord.AllowedMentions) -> None:
        """Replace its text and remove its buttons."""
        await self._message.edit(content=content, view=None, suppress=True, allowed_mentions=allowed_mentions)

    async def delete(self) -> None:
        """Take it back."""
        await self._message.delete()


REPEATS: Final = Rate(burst=3, interval_s=60.0)
"""How often the same is said in a voice channel to those who enter it: who goes in and out again and again fills no chat."""


class Notices:
    """Writes the captions and notices of every voice channel into the channel of its setting. Thread: loop."""

    def __init__(self, *, clock: Clock, metrics: Metrics, unfinished: UnfinishedNotices | None = None) -> None:
        """`unfinished` remembers the messages that say that a call is running."""
        self.clock = clock
        self._unfinished = unfinished
        self._metrics = metrics
        self._posters: dict[int, Poster] = {}
        self._spares: dict[int, Any | None] = {}
        self._diverted: dict[Place, Any] = {}
        self._told: dict[Place, dict[int, bool]] = {}
        """Hashes of what was posted, oldest first; True where all who read it have left."""
        self._repeated = Cooldowns()

    def say(self, voice_channel: VoiceChannel, text: str, *, key: Hashable = None, on_told: Callable[[], None] | None = None) -> None:
        """Post a notice; the same `key` again replaces it. If the bot may not write there, nothing is posted.

        One with `on_told` is written before everything that waits; that is called when Discord has accepted it, or when it is certain that
        it cannot be posted.
        """
        poster = self._poster(voice_channel.notices_channel)
        if poster is None:
            if on_told:
                on_told()
            return
        channel_id = poster.channel.id
        self._spares[channel_id] = voice_channel.spare_channel

        def on_delivery(status: DeliveryStatus, _message_id: int | None) -> None:
            if status == "refused":
                self._say_elsewhere(channel_id, text)
            if on_told:
                on_told()

        poster.notice(text, key=key, on_delivery=on_delivery if on_told else None, urgent=on_told is not None)

    def say_about(self, voice_channel: VoiceChannel, named: str, unnamed: str, *, key: Hashable = None) -> None:
        """Post a notice about a person: `named` if everybody who reads it can see the voice channel, else `unnamed`."""
        poster = self._poster(voice_channel.notices_channel)
        if poster is None:
            return
        channel_id = poster.channel.id
        self._spares[channel_id] = voice_channel.spare_channel

        def on_delivery(status: DeliveryStatus, _message_id: int | None) -> None:
            if status == "refused":
                self._say_elsewhere(channel_id, unnamed)

        poster.notice(named if voice_channel.readers_see_it else unnamed, key=key, on_delivery=on_delivery)

    def say_once(self, voice_channel: VoiceChannel, text: str, *, key: Hashable = None) -> bool:
        """Post a notice, unless the same text was posted there since `forget`, or very often lately. Returns whether it is posted."""
        told = self._told.pop(voice_channel.place, {})
        self._told[voice_channel.place] = told  # used last
        is_new = told.get(hash(text), True) and self.may_repeat(voice_channel.place, hash(text))
        if is_new:
            told[hash(text)] = False
            self.say(voice_channel, text, key=key)
        drop_oldest(told, MOST_TOLD)
        drop_oldest(self._told, MOST_PLACES)
        return is_new

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
        """Post a notice into this channel, as `Poster.notice` does.

        For a notice that says that a call is running, `call_in` is the guild of the call: it is remembered until a `last` one replaces it.
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
        """Replace the text of an unfinished notice of an earlier process, and remove its buttons. If it is gone, it is forgotten."""

        def delivered(_status: DeliveryStatus, _message_id: int | None) -> None:
            if self._unfinished:
                self._unfinished.ended(message_id)

        poster = self._poster(channel)
        if poster:
            poster.replace(LeftMessage(channel, message_id), text, on_delivery=delivered)

    def caption(self, voice_channel: VoiceChannel, key: Hashable, text: str, *, final: bool, speaker: int | None = None) -> None:
        """Write a caption: the whole stretch of speech so far."""
        poster = self._poster(self.captions_channel(voice_channel))
        if poster:
            poster.caption(key, text, final=final, speaker=speaker)

    def captions_channel(self, voice_channel: VoiceChannel) -> Any | None:
        """Where captions of this voice channel go; None if nowhere."""
        return self._diverted.get(voice_channel.place) or voice_channel.captions_channel

    def drop_captions(self, *, speaker: int | None = None, call: int | None = None) -> None:
        """Drop unwritten captions of this person, or of everybody in this call."""
        for poster in self._posters.values():
            poster.drop_captions(lambda key, who: speaker == who or (call is not None and is_of(key, call)))

    def deleted(self, channel_id: int, message_ids: Collection[int]) -> None:
        """These messages were deleted."""
        poster = self._posters.get(channel_id)
        if poster:
            poster.deleted(message_ids)

    def finish(self, call: int) -> None:
        """The call is over: forget its messages when they are written."""
        for poster in self._posters.values():
            poster.finish(lambda key: is_of(key, call))

    def divert(self, place: Place, channel: Any | None) -> None:
        """Write captions of this voice channel into another channel, such as a thread; None ends that."""
        if channel is None:
            self._diverted.pop(place, None)
        else:
            self._diverted[place] = channel

    def forget(self, place: Place) -> None:
        """Forget what was posted there, so that everything may be posted again."""
        self._told.pop(place, None)

    def readers_left(self, place: Place) -> None:
        """Nobody is there any more who has read it: everything may be said again, as often as `REPEATS` allows."""
        told = self._told.get(place, {})
        told.update(dict.fromkeys(told, True))

    def may_repeat(self, place: Place, what: Hashable) -> bool:
        """Whether something of this kind may be said there once more, to whoever came; counts it if so."""
        key, now = (place, what), self.clock.now()
        may = not self._repeated.wait_s(key, REPEATS, now)
        if may:
            self._repeated.use(key, REPEATS, now)
        return may

    async def flush(self) -> None:
        """Return when everything is written."""
        await asyncio.gather(*(poster.flush() for poster in self._posters.values()))

    def writes_where(self, is_there: Callable[[Any], bool]) -> bool:
        """Whether something is still to be written in these channels of py-cord."""
        return any(not poster.idle for poster in self._posters.values() if is_there(poster.channel))

    async def close_where(self, is_lost: Callable[[Any], bool]) -> None:
        """Stop writing in these channels of py-cord, whose connection is closed. A later notice is written with the new channel."""
        lost = [channel_id for channel_id, poster in self._posters.items() if is_lost(poster.channel)]
        posters = [self._posters.pop(channel_id) for channel_id in lost]
        for channel_id in lost:
            self._spares.pop(channel_id, None)
        await asyncio.gather(*(poster.close() for poster in posters))

    async def close(self) -> None:
        """Stop writing everywhere. What is not written is dropped; its number is logged."""
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
        """Drop idle posters that may write again at once, so that a new one for the channel keeps Discord's pace."""
        idle = [channel_id for channel_id, poster in self._posters.items() if poster.forgettable]
        for channel_id in idle[: max(0, len(self._posters) - MOST_POSTERS + 1)]:
            del self._posters[channel_id]
            self._spares.pop(channel_id, None)

    def _say_elsewhere(self, channel_id: int, text: str) -> None:
        """Discord refused a notice: post it in the spare channel."""
        spare = self._spares.get(channel_id)
        poster = self._poster(spare) if spare is not None and spare.id != channel_id else None
        if poster:
            poster.notice(text)


def is_of(key: Hashable, call: int) -> bool:
    """Whether a key belongs to a call: such keys start with its number."""
    return isinstance(key, tuple) and key[:1] == (call,)


async def open_captions_thread(voice_channel: VoiceChannel, notices: Notices, ids: dict[str, Any]) -> Any | None:
    """Open a thread, send the captions of this voice channel there, and post where it is; None if that fails.

    `ids` identify the call in the log.
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
