"""The one writer per channel: captions and notices, one message per stretch of speech, edited in place while it grows."""

import asyncio
import itertools
import secrets
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import aiohttp
import discord
import structlog

from discordplex.bot.text import PIECE_LIMIT, harmless, split
from discordplex.clock import Clock
from discordplex.metrics import Metrics

log = structlog.get_logger()

WRITE_INTERVAL_S = 1.05
"""From the end of one write to the start of the next: never more than one a second, as Discord sees it."""

MOST_MESSAGES = 256
"""Messages that are kept for writing or for further edits. Then the oldest unwritten one is dropped, and counted."""

MOST_FAILURES = 6
"""Tries of one write before it is given up. With the pauses between them, and the library's own five tries in each, that is minutes."""

SILENCE_WHEN_REFUSED_S = 60.0
"""How long nothing is tried after Discord refused us a channel: 10,000 refused requests in ten minutes ban the whole address."""

NO_MENTIONS = discord.AllowedMentions.none()

FAULTS = (discord.HTTPException, aiohttp.ClientError, OSError, asyncio.TimeoutError)
"""What a write may fail of without any fault of ours."""


class SentMessage(Protocol):
    """A message of ours in a channel."""

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


Key: TypeAlias = Hashable


@dataclass(slots=True, eq=False)
class Draft:
    """One message: what it shall say, what it says."""

    wanted: str
    written: str = ""
    message: SentMessage | None = None
    final: bool = False
    failures: int = 0
    nonce: str = ""
    view: discord.ui.View | None = None
    """The buttons below it."""
    gone: bool = False
    """Somebody deleted it: it is not written again."""


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
        self._drafts: dict[tuple[Key, int], Draft] = {}
        self._waiting: dict[tuple[Key, int], None] = {}
        self._numbers = itertools.count()
        self._next_write = clock.now()
        self._silent_until = clock.now()
        self._task: asyncio.Task[None] | None = None
        self._writing: tuple[Key, int] | None = None

    @property
    def idle(self) -> bool:
        """Everything that was asked for is written."""
        return not self._waiting

    def notice(self, text: str, *, key: Key = None, view: discord.ui.View | None = None) -> None:
        """Say a sentence of ours, markdown included, with the buttons of `view`. The same `key` again replaces what it said."""
        self._want(("notice", next(self._numbers) if key is None else key), [text], final=key is None, view=view)

    def caption(self, key: Key, text: str, *, final: bool) -> None:
        """What somebody says: the whole stretch so far, whatever it contains."""
        self._want(("caption", key), list(split(harmless(text))), final=final)

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

    def _want(self, key: Key, pieces: list[str], *, final: bool, view: discord.ui.View | None = None) -> None:
        known = next(part for part in itertools.count() if (key, part) not in self._drafts)
        for part in range(max(known, len(pieces))):
            wanted = pieces[part] if part < len(pieces) else ""
            draft = self._drafts.setdefault((key, part), Draft(""))
            draft.wanted, draft.final, draft.view = wanted, final, view
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
                log.exception("a message could not be written", channel=self.channel.id)
                self._drop(key)
            self._writing = None
            self._next_write = self._clock.now() + pause_s

    async def _write(self, key: tuple[Key, int], draft: Draft) -> float:
        """Bring one message up to date; the seconds until the next write."""
        if self._clock.now() < self._silent_until:
            self._give_back()
            return 0.0
        text = draft.wanted
        try:
            await self._send(draft, text)
        except (discord.Forbidden, discord.NotFound) as fault:
            self._refused(draft, fault)
        except FAULTS as fault:
            return self._failed(key, draft, fault)
        else:
            self._metrics.counter("poster.writes").add()
            draft.written, draft.failures = text, 0
        if draft.wanted == text or draft.gone:
            self._waiting.pop(key, None)
            self._tidy(key)
        elif key in self._waiting:  # it grew meanwhile: behind those who wait longer
            del self._waiting[key]
            self._waiting[key] = None
        return WRITE_INTERVAL_S

    async def _send(self, draft: Draft, text: str) -> None:
        if draft.message is None:
            draft.nonce = draft.nonce or secrets.token_hex(12)  # a second try of a write that did arrive makes no second message
            buttons = {"view": draft.view} if draft.view else {}
            draft.message = await self.channel.send(
                text, allowed_mentions=NO_MENTIONS, silent=True, suppress_embeds=True, nonce=draft.nonce, enforce_nonce=True, **buttons
            )
        elif text:
            await draft.message.edit(content=text, allowed_mentions=NO_MENTIONS)
        else:
            await draft.message.delete()
            draft.gone = True

    def _refused(self, draft: Draft, fault: discord.HTTPException) -> None:
        if draft.message is not None and isinstance(fault, discord.NotFound):
            draft.gone = True
            return
        log.warning("not allowed to write in a channel", channel=self.channel.id, status=fault.status, code=fault.code)
        self._silent_until = self._clock.now() + SILENCE_WHEN_REFUSED_S
        self._give_back()

    def _failed(self, key: tuple[Key, int], draft: Draft, fault: BaseException) -> float:
        draft.failures += 1
        self._metrics.counter("poster.failures").add()
        log.warning("writing in a channel failed", channel=self.channel.id, cause=type(fault).__name__, failures=draft.failures)
        if draft.failures >= MOST_FAILURES:
            self._drop(key)
        return WRITE_INTERVAL_S * 2.0 ** min(draft.failures - 1, 5)

    def _pack(self) -> None:
        """Join the messages that are not begun yet."""
        unbegun = [key for key in self._waiting if key != self._writing and self._drafts[key].message is None]
        if len(unbegun) < 2:  # noqa: PLR2004 -- one is as few as it gets
            return
        text = "\n".join(self._drafts[key].wanted for key in unbegun)
        for key in unbegun:
            del self._waiting[key], self._drafts[key]
        self._want(("packed", next(self._numbers)), list(split(text, PIECE_LIMIT)), final=True)

    def _bound(self) -> None:
        while len(self._drafts) > MOST_MESSAGES:
            clean = (key for key in self._drafts if key not in self._waiting)
            self._drop(next(clean, None) or next(iter(self._waiting)))

    def _give_back(self) -> None:
        """Nothing can be written here: the notices that wait go to whoever may know another place."""
        notices = [self._drafts[key].wanted for key in self._waiting if isinstance(key[0], tuple) and key[0][0] == "notice"]
        for key in list(self._waiting):
            self._drop(key)
        for text in notices:
            self._on_refused(text)

    def _drop(self, key: tuple[Key, int]) -> None:
        if key in self._waiting:
            del self._waiting[key]
            self._metrics.counter("poster.dropped").add()
        self._drafts.pop(key, None)

    def _tidy(self, key: tuple[Key, int]) -> None:
        """Forget a message to which nothing more can happen."""
        draft = self._drafts.get(key)
        if draft and draft.final and key not in self._waiting:
            del self._drafts[key]
