"""Scribe: keeps what is said in calls, where the admins of a server switched transcripts on, and nowhere else."""

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from weakref import WeakKeyDictionary

import structlog

from discordplex.bot.outcome import AnyCall
from discordplex.bot.preferences import StoredPreferences
from discordplex.bridge.events import Caption
from discordplex.errors import StoreError
from discordplex.metrics import Metrics
from discordplex.store.records import TranscriptLine

log = structlog.get_logger()

MOST_WAITING = 2000
"""Lines that wait for a slow database; then the oldest is dropped, and counted."""

LAST_LINES_S = 1.0
"""How long the last lines may take at the end."""


class Scribe:
    """Writes finished captions into the store, beside the calls. `hear` returns at once. Thread: loop."""

    def __init__(
        self,
        *,
        preferences: StoredPreferences,
        metrics: Metrics,
        tell: Callable[[AnyCall, str], None],
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """`tell` says in a call's channel that its transcript is not kept, and why."""
        self._preferences = preferences
        self._tell = tell
        self._now = now
        self._dropped = metrics.counter("transcripts.dropped")
        self._names: WeakKeyDictionary[AnyCall, str] = WeakKeyDictionary()
        self._waiting: deque[tuple[AnyCall, TranscriptLine]] = deque()
        self._task: asyncio.Task[None] | None = None

    def hear(self, call: AnyCall, caption: Caption) -> None:
        """A caption of a call; kept once it is final."""
        guild_id = call.room.place.guild_id
        if not caption.final or not self._preferences.rules(guild_id).transcripts:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._dropped.add()
        self._waiting.append((call, TranscriptLine(guild_id, self._name(call), caption.speaker, self._now(), caption.text)))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), name="bot:transcripts")

    async def close(self) -> None:
        """Write what waits, if that does not take long."""
        if self._task:
            await asyncio.wait({self._task}, timeout=LAST_LINES_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._dropped.add(len(self._waiting))
        self._waiting.clear()

    async def _write(self) -> None:
        while self._waiting:
            batch = [*self._waiting]
            self._waiting.clear()
            try:
                await self._preferences.store.transcripts.keep([line for _, line in batch])
            except StoreError as fault:
                self._dropped.add(len(batch))
                log.warning("a transcript was not saved", lines=len(batch), why=str(fault))
                for call in {call for call, _ in batch}:
                    self._tell(call, str(fault))

    def _name(self, call: AnyCall) -> str:
        """The call's own name in the store, the same for all its lines, in the order of time."""
        return self._names.setdefault(call, f"{self._now():%Y-%m-%d %H:%M} {uuid.uuid4().hex[:8]}")
