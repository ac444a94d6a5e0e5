"""Poster: the only writer of a channel. It writes captions and notices: one message per stretch of speech, edited while it grows."""

import asyncio
import itertools
import secrets
import zlib
from collections.abc import Awaitable, Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import aiohttp
import discord
import structlog

from discordplex.bot.texts.markdown import PIECE_LIMIT, harmless, messages, split
from discordplex.clock import Clock
from discordplex.logs import place_of
from discordplex.metrics import Metrics
from discordplex.retry import Backoff

log = structlog.get_logger()

WRITE_INTERVAL_S = 1.05
"""The pause from the end of one write to the start of the next, so that Discord sees at most one per second."""

MOST_MESSAGES = 256
"""The most messages that are kept for writing or editing. After that, the oldest unwritten one is dropped and counted."""

LONGEST_STRETCH = 20_000
"""The most characters of one stretch of speech: a quarter of an hour without a pause."""

MOST_DELETED = 1000
"""The most deleted messages that are remembered during a write."""

LONGEST_PAUSE_S = 32 * WRITE_INTERVAL_S
"""The pause after a failed write doubles from `WRITE_INTERVAL_S` to this."""

MOST_FAILURES = 6
"""The most tries of one write. With the pauses, and the library's own five tries in each, they take minutes."""

SILENCE_WHEN_REFUSED_S = 60.0
"""The pause after Discord refused a channel. It bans an address after 10,000 refused requests in ten minutes."""

NO_MENTIONS = discord.AllowedMentions.none()

UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, RecursionError, zlib.error)
"""What py-cord raises if an answer has a wrong shape: a web page, nothing, other JSON."""

ARCHIVED = 50083
"""Error code of the REST API (documented): messages in an archived thread cannot be edited. New ones can be written."""

FAULTS = (discord.HTTPException, aiohttp.ClientError, OSError, asyncio.TimeoutError, *UNREADABLE)
"""Exceptions of a write that are not bugs of ours."""


class SentMessage(Protocol):
    """A message of the bot in a channel."""

    id: int

    async def edit(self, *, content: str, allowed_mentions: discord.AllowedMentions) -> Any:
        """Replace its text."""
        ...

    async def delete(self) -> None:
        """Delete it."""
        ...


class TextChannel(Protocol):
    """What a poster needs from a channel; py-cord's text, voice and thread channels have it."""

    id: int

    async def send(
        self,
        content: str,
        *,
        allowed_mentions: discord.AllowedMentions,
        silent: bool,
        suppress_embeds: bool,
        nonce: str,
        enforce_nonce: bool,
        view: discord.ui.View | None = None,
    ) -> Any:
        """Write a new message and return it."""
        ...


@runtime_checkable
class Thread(Protocol):
    """What a poster also needs from a thread."""

    async def unarchive(self) -> Any:
        """Open the archived thread again."""
        ...


Key: TypeAlias = Hashable
Name: TypeAlias = tuple[Literal["notice", "caption", "packed"], Key]
Part: TypeAlias = tuple[Name, int]
"""One message: the key of its text, and the number of the piece."""

DeliveryStatus: TypeAlias = Literal["taken", "refused", "deleted"]
"""The state of a notice: Discord accepted it, refused it, or somebody deleted it. `taken` comes again with each edit."""

OnDelivery: TypeAlias = Callable[[DeliveryStatus, "int | None"], None]
"""Called with the state of a notice and the id of its message, or None."""


@dataclass(slots=True, eq=False)
class Draft:
    """One message: its wanted text, and its written text."""

    wanted: str
    written: str = ""
    message: SentMessage | None = None
    final: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(WRITE_INTERVAL_S, LONGEST_PAUSE_S))
    nonce: str = ""
    view: discord.ui.View | None = None
    """The buttons of the message."""
    gone: bool = False
    """Whether somebody deleted it: then it is not written again."""
    speaker: int | None = None
    """Who says it; None for the engine and for notices."""
    on_delivery: OnDelivery | None = None
    last: bool = False
    """Whether it says that something is over: at the end it is written before the others."""


class Poster:
    """Writes into one channel, at most once a second: the newest text of the message that has waited longest.

    `notice` and `caption` return at once. All methods: the event loop's thread. `on_refused` gets each notice that Discord refuses here, so
    that it can be posted elsewhere.
    """

    def __init__(self, channel: TextChannel, *, clock: Clock, metrics: Metrics, on_refused: Callable[[str], None] = lambda _: None) -> None:
        self.channel = channel
        self._on_refused = on_refused
        self._clock = clock
        self._metrics = metrics
        self._drafts: dict[Part, Draft] = {}
        self._waiting: dict[Part, None] = {}
        self._numbers = itertools.count()
        self._next_write = clock.now()
        self._silent_until = clock.now()
        self._task: asyncio.Task[None] | None = None
        self._writing: Part | None = None
        self._deleted: set[int] = set()
        """Messages that were deleted during a write: Discord may report that before it answers the write."""

    @property
    def idle(self) -> bool:
        """Whether everything is written."""
        return not self._waiting

    @property
    def forgettable(self) -> bool:
        """Whether a new poster could replace this one: nothing is pending, and it may write at once."""
        return not self._drafts and self._clock.now() >= max(self._next_write, self._silent_until)

    def notice(
        self,
        text: str,
        *,
        key: Key = None,
        view: discord.ui.View | None = None,
        last: bool = False,
        on_delivery: OnDelivery | None = None,
        urgent: bool = False,
    ) -> None:
        """Post a notice, which may contain markdown, with the buttons of `view`. The same `key` again replaces its text.

        An `urgent` one is written before everything that waits. `on_delivery` gets the state of the notice; `on_refused` is not called
        then. With `last`, nothing more comes for the key: if nothing was sent under it, nothing is sent. Buttons that people may still
        need stay.
        """
        name: Name = ("notice", next(self._numbers) if key is None else key)
        if last and self._unsent(name):
            self._drop((name, 0))
        else:
            self._set_texts(name, messages(text), Draft("", final=last or key is None, view=view, last=last, on_delivery=on_delivery))
            if urgent:
                first = {part: None for part in self._waiting if part[0] == name}
                self._waiting = first | self._waiting

    def replace(self, message: SentMessage, text: str, *, on_delivery: OnDelivery) -> None:
        """Replace the text of a message of an earlier process."""
        name: Name = ("notice", next(self._numbers))
        self._drafts[(name, 0)] = Draft("", message=message)
        self._set_texts(name, [text], Draft("", final=True, last=True, on_delivery=on_delivery))

    def caption(self, key: Key, text: str, *, final: bool, speaker: int | None = None) -> None:
        """Write a caption: the whole stretch of speech so far. `speaker` is who says it; None is the engine."""
        shown = text if len(text) <= LONGEST_STRETCH else f"{text[:LONGEST_STRETCH]}…"
        self._set_texts(("caption", key), list(split(harmless(shown))), Draft("", final=final, speaker=speaker))

    def drop_captions(self, whose: Callable[[Key, int], bool]) -> None:
        """Drop unwritten captions for which `whose` (called with the key and the speaker) is true.

        Written text stays. A message that is being written right now is deleted as soon as it is there.
        """
        for (key, part), draft in list(self._drafts.items()):
            if draft.speaker is None or not whose(key[1], draft.speaker):
                continue
            if self._writing == (key, part):
                draft.wanted, draft.final = "", True
            else:
                self._waiting.pop((key, part), None)
                self._drafts.pop((key, part))

    def deleted(self, message_ids: Collection[int]) -> None:
        """These messages of the channel were deleted. The bot's own are not written again, and `on_delivery` is called."""
        if self._writing is not None and len(self._deleted) < MOST_DELETED:
            self._deleted.update(message_ids)
        ours = [part for part, draft in self._drafts.items() if draft.message is not None and draft.message.id in message_ids]
        for part in ours:
            if part in self._drafts:  # `on_delivery` may have removed it
                self._gone(part, self._drafts[part])

    def _gone(self, part: Part, draft: Draft) -> None:
        if draft.gone:
            return
        draft.gone = True
        self._waiting.pop(part, None)
        self._tidy(part)
        if draft.on_delivery:
            draft.on_delivery("deleted", draft.message.id if draft.message else None)

    def finish(self, whose: Callable[[Key], bool]) -> None:
        """Nothing more comes for these keys: forget their messages when they are written."""
        for (key, part), draft in list(self._drafts.items()):
            if whose(key[1]):
                draft.final = True
                self._tidy((key, part))

    async def flush(self) -> None:
        """Return when everything is written. Unwritten texts are joined into as few messages as possible, because time is short."""
        self._pack()
        if self._task:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Stop writing; what is not written is dropped."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _unsent(self, key: Name) -> bool:
        """Whether nothing of a notice was sent."""
        draft = self._drafts.get((key, 0))
        return draft is None or (draft.message is None and not draft.nonce and self._writing != (key, 0))

    def _set_texts(self, key: Name, pieces: list[str], like: Draft) -> None:
        """Set the texts of the messages of a key, one for each piece. Everything else is as in `like`."""
        known = next(part for part in itertools.count() if (key, part) not in self._drafts)
        for part in range(max(known, len(pieces))):
            wanted = pieces[part] if part < len(pieces) else ""
            draft = self._drafts.setdefault((key, part), Draft(""))
            draft.wanted, draft.final, draft.view, draft.last = wanted, like.final, like.view, like.last
            draft.speaker, draft.on_delivery = like.speaker, like.on_delivery
            if draft.wanted == draft.written or draft.gone:
                self._waiting.pop((key, part), None)
                self._tidy((key, part))
            else:
                self._waiting.setdefault((key, part))
        self._bound()
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._write_all(), name=f"poster:{self.channel.id}")

    async def _write_all(self) -> None:
        while self._waiting:
            await self._clock.sleep_until(self._next_write)
            if not self._waiting:
                return
            self._writing = key = next(iter(self._waiting))
            pause_s = WRITE_INTERVAL_S
            try:
                pause_s = await self._write(key, self._drafts[key])
            except Exception:  # one bad message must not stop the others
                log.exception("message not written", channel=self.channel.id)
                self._drop(key)
            self._writing = None
            self._deleted.clear()
            self._next_write = self._clock.now() + pause_s

    async def _write(self, key: Part, draft: Draft) -> float:
        """Write or edit one message; returns the seconds until the next write."""
        if self._clock.now() < self._silent_until:
            self._give_back()
            return 0.0
        text, on_delivery = draft.wanted, draft.on_delivery
        if not text and draft.message is None:
            self._drop(key)
            return 0.0
        try:
            await self._send(draft, text)
        except (discord.Forbidden, discord.NotFound) as fault:
            self._refused(key, draft, fault)
            on_delivery = None
        except FAULTS as fault:
            return self._failed(key, draft, fault)
        else:
            self._metrics.counter("poster.writes").add()
            draft.backoff.reset()
        if draft.message is not None and draft.message.id in self._deleted:
            self._gone(key, draft)
        if draft.wanted == draft.written or draft.gone:
            self._waiting.pop(key, None)
            self._tidy(key)
        elif key in self._waiting:  # it grew meanwhile: queue it behind the others
            del self._waiting[key]
            self._waiting[key] = None
        if on_delivery and not draft.gone:
            on_delivery("taken", draft.message.id if draft.message else None)
        return WRITE_INTERVAL_S

    async def _send(self, draft: Draft, text: str) -> None:
        if draft.message is None:
            draft.nonce = draft.nonce or secrets.token_hex(12)  # so a second try makes no second message if the first arrived
            buttons = {"view": draft.view} if draft.view else {}
            draft.message = await self.channel.send(
                text, allowed_mentions=NO_MENTIONS, silent=True, suppress_embeds=True, nonce=draft.nonce, enforce_nonce=True, **buttons
            )
            draft.written = getattr(draft.message, "content", None) or text  # the text of an earlier try, if that arrived
        elif text:
            await self._change(draft.message.edit, content=text, allowed_mentions=NO_MENTIONS)
            draft.written = text
        else:
            await self._change(draft.message.delete)
            draft.gone = True

    async def _change(self, change: Callable[..., Awaitable[Any]], **to: Any) -> None:
        """Change a message; if its thread was archived, open the thread first."""
        try:
            await change(**to)
        except discord.HTTPException as fault:
            if fault.code != ARCHIVED or not isinstance(self.channel, Thread):
                raise
            await self.channel.unarchive()
            await change(**to)

    def _refused(self, key: Part, draft: Draft, fault: discord.HTTPException) -> None:
        if draft.message is not None and isinstance(fault, discord.NotFound):
            self._gone(key, draft)
            return
        log.warning("not allowed to write in a channel", channel=self.channel.id, status=fault.status, code=fault.code)
        self._silent_until = self._clock.now() + SILENCE_WHEN_REFUSED_S
        self._give_back()

    def _failed(self, key: Part, draft: Draft, fault: BaseException) -> float:
        pause_s = draft.backoff.failed()
        self._metrics.counter("poster.failures").add()
        cause = place_of(fault) if isinstance(fault, UNREADABLE) else type(fault).__name__
        log.warning("writing in a channel failed", channel=self.channel.id, cause=cause, failures=draft.backoff.failures)
        if draft.backoff.failures >= MOST_FAILURES:
            self._drop(key)
        return pause_s

    def _pack(self) -> None:
        """Join the messages that are not written yet; those that say that something is over come first."""
        for key in sorted(self._waiting, key=lambda key: not self._drafts[key].last):
            self._waiting[key] = self._waiting.pop(key)
        unbegun = [key for key in self._waiting if key != self._writing and self._drafts[key].message is None]
        if len(unbegun) < 2:  # noqa: PLR2004 -- one is as few as it gets
            return
        text = "\n".join(self._drafts[key].wanted for key in unbegun)
        for key in unbegun:
            del self._waiting[key], self._drafts[key]
        self._set_texts(("packed", next(self._numbers)), list(split(text, PIECE_LIMIT)), Draft("", final=True))

    def _bound(self) -> None:
        while len(self._drafts) > MOST_MESSAGES:
            self._drop(min(self._drafts, key=self._worth))

    def _worth(self, key: Part) -> tuple[bool, bool]:
        """The order for dropping: captions before notices, which may have to change later; of each, written ones first, then the oldest."""
        return key[0][0] == "notice", key in self._waiting

    def _give_back(self) -> None:
        """Nothing can be written here: give waiting notices to `on_refused`."""
        notices = [self._drafts[key] for key in self._waiting if key[0][0] == "notice"]
        for key in list(self._waiting):
            self._drop(key)
        for draft in notices:
            if draft.on_delivery:
                draft.on_delivery("refused", draft.message.id if draft.message else None)
            elif not draft.last:
                self._on_refused(draft.wanted)

    def _drop(self, key: Part) -> None:
        if key in self._waiting:
            del self._waiting[key]
            self._metrics.counter("poster.dropped").add()
        self._drafts.pop(key, None)

    def _tidy(self, key: Part) -> None:
        """Forget a message that cannot change any more."""
        draft = self._drafts.get(key)
        if draft and draft.final and key not in self._waiting:
            del self._drafts[key]
