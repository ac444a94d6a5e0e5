"""StoredQueue: keeps the queue's order in the store, so that a restart costs nobody their place."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone

import structlog

from discordplex.bot.sessions import Place
from discordplex.errors import StoreError
from discordplex.store.records import Waiting
from discordplex.store.store import Store

log = structlog.get_logger()

MOST_WAITING = 1000
"""Changes that wait for a slow database; then the oldest is dropped: the queue itself goes on, only a restart would know less."""

LAST_CHANGES_S = 0.5
"""How long the last changes may take at the end."""

Change = Callable[[], Awaitable[object]]


class StoredQueue:
    """A `sessions.QueueMemory`. Changes are written beside everything else, one after the other, in order. Thread: loop."""

    def __init__(self, store: Store, *, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> None:
        self._queue = store.queue
        self._now = now
        self._changes: deque[Change] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> Sequence[tuple[Place, int | None]]:
        """Who had a call or waited when the last process ended, in the order in which they had asked, with who asked. Never raises."""
        await self.written()
        try:
            return [(Place(one.guild_id, one.channel_id), one.user_id) for one in await self._queue.list()]
        except StoreError as fault:
            log.warning("the queue of before the restart is not known", why=str(fault))
            return ()

    def entered(self, place: Place, asker: int | None) -> None:
        """They asked for a call and have it, or wait."""
        waiting = Waiting(place.guild_id, place.channel_id, asker, self._now())
        self._later(lambda: self._queue.enter(waiting))

    def moved(self, before: Place, after: Place) -> None:
        """Their call goes on in another channel."""
        self._later(lambda: self._queue.move(before.guild_id, before.channel_id, after.channel_id))

    def left(self, place: Place) -> None:
        """They neither have a call nor wait."""
        self._later(lambda: self._queue.leave(place.guild_id, place.channel_id))

    async def written(self) -> None:
        """Return once every change so far is written, or was given up."""
        if self._task:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Write what waits, if that does not take long."""
        if self._task:
            await asyncio.wait({self._task}, timeout=LAST_CHANGES_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _later(self, change: Change) -> None:
        self._changes.append(change)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), name="bot:queue memory")

    async def _write(self) -> None:
        while self._changes:
            try:
                await self._changes.popleft()()
            except StoreError as fault:
                log.warning("the queue's order is not saved", why=str(fault))
