"""The one writer per channel: captions and notices, one message per stretch of speech, edited in place while it grows."""

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
"""From the end of one write to the start of the next: never more than one a second, as Discord sees it."""

MOST_MESSAGES = 256
"""Messages that are kept for writing or for further edits. Then the oldest unwritten one is dropped, and counted."""

LONGEST_STRETCH = 20_000
"""Characters of one stretch of speech that are shown: a quarter of an hour without a pause. An engine that floods gets no more."""

MOST_DELETED = 1000
"""Deleted messages that are remembered while one is being written."""

LONGEST_PAUSE_S = 32 * WRITE_INTERVAL_S
"""Pauses after writes that failed double from `WRITE_INTERVAL_S` to this one."""

MOST_FAILURES = 6
"""Tries of one write before it is given up. With the pauses between them, and the library's own five tries in each, that is minutes."""

SILENCE_WHEN_REFUSED_S = 60.0
"""How long nothing is tried after Discord refused us a channel: 10,000 refused requests in ten minutes ban the whole address."""

NO_MENTIONS = discord.AllowedMentions.none()

UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, RecursionError, zlib.error)
"""What py-cord raises where Discord, or what answers in its place, sends something of another shape: a page, nothing, other JSON."""

ARCHIVED = 50083
"""Error code of the REST API (documented): nothing can be changed in an archived thread, though something new can be written."""

FAULTS = (discord.HTTPException, aiohttp.ClientError, OSError, asyncio.TimeoutError, *UNREADABLE)
"""What a write may fail of without any fault of ours."""


class SentMessage(Protocol):
    """A message of ours in a channel."""

    id: int

    async def edit(self, *, content: str, allowed_mentions: discord.AllowedMentions) -> Any:
        """Replace its text."""
        ...

    async def delete(self) -> None:
        """Take it back."""
        ...


class TextChannel(Protocol):
    """What a poster needs of a channel; py-cord's text, voice and thread channels have it."""

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
    """What a thread has beyond that."""

    async def unarchive(self) -> Any:
        """Open it again."""
        ...


Key: TypeAlias = Hashable
Name: TypeAlias = tuple[Literal["notice", "caption", "packed"], Key]
Part: TypeAlias = tuple[Name, int]
"""One message: which text, and its how manieth piece."""

DeliveryStatus: TypeAlias = Literal["taken", "refused", "deleted"]
"""What became of a notice: Discord took it, or does not let us write there, or somebody deleted it. `taken` comes again with each edit."""

OnDelivery: TypeAlias = Callable[[DeliveryStatus, "int | None"], None]
"""Told what became of a notice, and the id of its message; None where there is none."""


@dataclass(slots=True, eq=False)
class Draft:
    """One message: what it shall say, what it says."""

    wanted: str
    written: str = ""
    message: SentMessage | None = None
    final: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(WRITE_INTERVAL_S, LONGEST_PAUSE_S))
    nonce: str = ""
    view: discord.ui.View | None = None
    """The buttons below it."""
    gone: bool = False
    """Somebody deleted it: it is not written again."""
    speaker: int | None = None
    """Whose words it is, None for the engine's and for notices."""
    on_delivery: OnDelivery | None = None
    last: bool = False
    """It says that something is over: at the end of everything it is written before the rest."""


class Poster:
    """Writes into one channel, at most once a second, always the newest state of the message that waits longest.

    `notice` and `caption` return at once. All methods: the event loop's thread. `on_refused` gets each notice that Discord does not let
    us write here, so that it can be said elsewhere.
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
        """Messages that were deleted while one was being written: Discord may tell of that before it answers the write."""

    @property
    def idle(self) -> bool:
        """Everything that was asked for is written."""
        return not self._waiting

    @property
    def forgettable(self) -> bool:
        """A new one in its place would do the same: nothing is to be written or changed, and it may write at once."""
        return not self._drafts and self._clock.now() >= max(self._next_write, self._silent_until)

    def notice(
        self,
        text: str,
        *,
        key: Key = None,
        view: discord.ui.View | None = None,
        last: bool = False,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Say something of ours, markdown included, with the buttons of `view`. The same `key` again replaces what it said.

        `on_delivery` is told what became of it; then `on_refused` is not called. With `last` nothing more comes for the key;
        what was never sent under it is not sent any more, and one whose buttons people may still need keeps them.
        """
        name: Name = ("notice", next(self._numbers) if key is None else key)
        if last and self._unsent(name):
            self._drop((name, 0))
        else:
            self._want(name, messages(text), Draft("", final=last or key is None, view=view, last=last, on_delivery=on_delivery))

    def replace(self, message: SentMessage, text: str, *, on_delivery: OnDelivery) -> None:
        """Let a message that an earlier process wrote say this from now on."""
        name: Name = ("notice", next(self._numbers))
        self._drafts[(name, 0)] = Draft("", message=message)
        self._want(name, [text], Draft("", final=True, last=True, on_delivery=on_delivery))

    def caption(self, key: Key, text: str, *, final: bool, speaker: int | None = None) -> None:
        """What somebody says: the whole stretch so far, whatever it contains. `speaker` is whose words it is, None for the engine's."""
        shown = text if len(text) <= LONGEST_STRETCH else f"{text[:LONGEST_STRETCH]}…"
        self._want(("caption", key), list(split(harmless(shown))), Draft("", final=final, speaker=speaker))

    def drop_captions(self, whose: Callable[[Key, int], bool]) -> None:
        """Write nothing more of the captions of these people; `whose` is asked with a caption's key and its speaker.

        What is written stays as it is. What is being written right now is deleted as soon as it is there.
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
        """Somebody deleted these messages of the channel. Those of ours among them are not written again, and `on_delivery` is told."""
        if self._writing is not None and len(self._deleted) < MOST_DELETED:
            self._deleted.update(message_ids)
        ours = [part for part, draft in self._drafts.items() if draft.message is not None and draft.message.id in message_ids]
        for part in ours:
            if part in self._drafts:  # `on_delivery` may have forgotten it
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
        """Nothing more comes for these keys: forget their messages once they are written."""
        for (key, part), draft in list(self._drafts.items()):
            if whose(key[1]):
                draft.final = True
                self._tidy((key, part))

    async def flush(self) -> None:
        """Return when everything is written. What no message holds yet is packed into as few as possible, since time is short."""
        self._pack()
        if self._task:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Stop writing; what is not written stays so."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _unsent(self, key: Name) -> bool:
        """Whether Discord has seen nothing of a notice."""
        draft = self._drafts.get((key, 0))
        return draft is None or (draft.message is None and not draft.nonce and self._writing != (key, 0))

    def _want(self, key: Name, pieces: list[str], like: Draft) -> None:
        """Let the messages of a key say this, one for each piece; the rest of what they are is as in `like`."""
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
            except Exception:  # the edge: one bad message must not silence the channel
                log.exception("message not written", channel=self.channel.id)
                self._drop(key)
            self._writing = None
            self._deleted.clear()
            self._next_write = self._clock.now() + pause_s

    async def _write(self, key: Part, draft: Draft) -> float:
        """Bring one message up to date; the seconds until the next write."""
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
        elif key in self._waiting:  # it grew meanwhile: behind those who wait longer
            del self._waiting[key]
            self._waiting[key] = None
        if on_delivery and not draft.gone:
            on_delivery("taken", draft.message.id if draft.message else None)
        return WRITE_INTERVAL_S

    async def _send(self, draft: Draft, text: str) -> None:
        if draft.message is None:
            draft.nonce = draft.nonce or secrets.token_hex(12)  # a second try of a write that did arrive makes no second message
            buttons = {"view": draft.view} if draft.view else {}
            draft.message = await self.channel.send(
                text, allowed_mentions=NO_MENTIONS, silent=True, suppress_embeds=True, nonce=draft.nonce, enforce_nonce=True, **buttons
            )
            draft.written = getattr(draft.message, "content", None) or text  # of an earlier try, where that arrived after all
        elif text:
            await self._change(draft.message.edit, content=text, allowed_mentions=NO_MENTIONS)
            draft.written = text
        else:
            await self._change(draft.message.delete)
            draft.gone = True

    async def _change(self, change: Callable[..., Awaitable[Any]], **to: Any) -> None:
        """Change a message; where its thread was archived meanwhile, reopen that first."""
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
        """Join the messages that are not begun yet; what says that something is over goes first."""
        for key in sorted(self._waiting, key=lambda key: not self._drafts[key].last):
            self._waiting[key] = self._waiting.pop(key)
        unbegun = [key for key in self._waiting if key != self._writing and self._drafts[key].message is None]
        if len(unbegun) < 2:  # noqa: PLR2004 -- one is as few as it gets
            return
        text = "\n".join(self._drafts[key].wanted for key in unbegun)
        for key in unbegun:
            del self._waiting[key], self._drafts[key]
        self._want(("packed", next(self._numbers)), list(split(text, PIECE_LIMIT)), Draft("", final=True))

    def _bound(self) -> None:
        while len(self._drafts) > MOST_MESSAGES:
            self._drop(min(self._drafts, key=self._worth))

    def _worth(self, key: Part) -> tuple[bool, bool]:
        """Captions go before notices, which may have to change later; of each, what is written already goes first, then the oldest."""
        return key[0][0] == "notice", key in self._waiting

    def _give_back(self) -> None:
        """Nothing can be written here: the notices that wait go to whoever may know another place."""
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
        """Forget a message to which nothing more can happen."""
        draft = self._drafts.get(key)
        if draft and draft.final and key not in self._waiting:
            del self._drafts[key]
