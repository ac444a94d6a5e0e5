"""TranscriptWriter: saves transcripts of calls, only for servers whose admins switched them on."""

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from weakref import WeakKeyDictionary

import structlog

from discordplex.bot import texts
from discordplex.bot.call.state import CallState
from discordplex.bot.chat.notices import Notices
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.bridge.events import Caption
from discordplex.errors import StoreError
from discordplex.metrics import Metrics
from discordplex.store.records import Owner, TranscriptLine
from discordplex.tasks import cancel_and_wait

log = structlog.get_logger()

MOST_BYTES = 1_000_000
"""The most text that waits for a slow database. After that the oldest lines are dropped and counted."""

BATCH = 100
"""The most lines in one transaction, so that other work can use the database in between."""

LAST_LINES_S = 1.0
"""How long the last lines may take at the end."""


@dataclass(eq=False, slots=True)
class UnsavedLine:
    """A line that is not saved yet."""

    call: CallState
    line: TranscriptLine
    bytes: int
    forgotten: bool = False
    """Somebody asked for its deletion, so it is not saved."""


class TranscriptWriter:
    """Writes finished captions into the store in the background. `hear` returns at once. Thread: loop.

    It gets only captions that may be kept (see `Disclosure`). It checks the setting again itself, and so does the store.
    """

    def __init__(
        self,
        *,
        preferences: StoredPreferences,
        metrics: Metrics,
        notices: Notices,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """`notices` is for telling a call's channel that its transcript is not kept, and why."""
        self._preferences = preferences
        self._notices = notices
        self._now = now
        self._dropped = metrics.counter("transcripts.dropped")
        self._names: WeakKeyDictionary[CallState, str] = WeakKeyDictionary()
        self._waiting: deque[UnsavedLine] = deque()
        self._saving: list[UnsavedLine] = []
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        preferences.forgetting.add(self.forget)

    def hear(self, call: CallState, caption: Caption) -> None:
        """Take a caption of a call; it is kept when it is final."""
        guild_id = call.voice_channel.place.guild_id
        if not caption.final or not self._preferences.rules(guild_id).transcripts:
            return
        since = timedelta(seconds=0 if caption.began_at is None else self._notices.clock.now() - caption.began_at)
        line = TranscriptLine(guild_id, self.name_of(call), caption.speaker, self._now() - since, caption.text)
        self._waiting.append(UnsavedLine(call, line, len(line.text.encode(errors="replace"))))
        self._bytes += self._waiting[-1].bytes
        while self._bytes > MOST_BYTES:
            self._drop(self._waiting.popleft())
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), name="bot:transcripts")

    def forget(self, owner: Owner, call: str | None = None) -> None:
        """Drop all unsaved lines of a person, of a guild, or of one call of a guild."""
        for one in (*self._saving, *self._waiting):
            theirs = owner.id == (one.line.user_id if owner.kind == "person" else one.line.guild_id)
            one.forgotten |= theirs and call in (None, one.line.call)
        self._let_go()

    def drop_people(self, call: CallState) -> None:
        """Drop all unsaved lines of people in a call."""
        for one in (*self._saving, *self._waiting):
            one.forgotten |= one.call is call and one.line.user_id is not None
        self._let_go()

    def _let_go(self) -> None:
        for one in [one for one in self._waiting if one.forgotten]:
            self._waiting.remove(one)
            self._bytes -= one.bytes

    def is_saved(self, covers: Callable[[int], bool]) -> bool:
        """Whether nothing of these guilds waits."""
        return not any(covers(one.line.guild_id) for one in (*self._saving, *self._waiting))

    async def saved(self) -> None:
        """Return once what waits is saved, or could not be."""
        while self._task and not self._task.done():
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Try to save what waits, for a moment."""
        self._preferences.forgetting.discard(self.forget)
        if self._task:
            await asyncio.wait({self._task}, timeout=LAST_LINES_S)
            await cancel_and_wait(self._task)
        while self._waiting:
            self._drop(self._waiting.popleft())

    async def _write(self) -> None:
        while self._waiting:
            self._saving = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._bytes -= sum(one.bytes for one in self._saving)
            try:
                await self._preferences.store.transcripts.keep([one.line for one in self._saving], self._is_wanted)
            except StoreError as fault:
                self._dropped.add(len(self._saving))
                log.warning("transcript not saved", lines=len(self._saving), cause=fault.full)
                for call in {one.call for one in self._saving}:
                    self._notices.say_once(call.voice_channel, texts.calls.told(str(fault)))
            finally:
                self._saving = []

    def _is_wanted(self, line: TranscriptLine) -> bool:
        return not any(one.forgotten for one in self._saving if one.line is line)

    def _drop(self, one: UnsavedLine) -> None:
        self._bytes -= one.bytes
        self._dropped.add()

    def name_of(self, call: CallState) -> str:
        """The name of the call in the store: the same for all its lines, and sortable by time."""
        return self._names.setdefault(call, f"{self._now():%Y-%m-%d %H:%M} {uuid.uuid4().hex[:8]}")
