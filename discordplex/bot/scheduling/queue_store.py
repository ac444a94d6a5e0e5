"""StoredOrder: saves the order of the queue in the background. Nobody waits for the database, and its failure ends no call."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import TracebackType

import structlog
from typing_extensions import Self

from discordplex.bot.place import Place
from discordplex.bot.shards import WHOLE, Shard
from discordplex.clock import Clock
from discordplex.errors import StoreError
from discordplex.store.fence import TakenOverError
from discordplex.store.queue import Queue
from discordplex.store.records import Owner, QueueEntry

log = structlog.get_logger()

RETRY_S = 10.0
"""The pause after a failure of the database."""

LAST_WRITES_S = 1.0
"""How long the process waits for the last changes when it ends."""

MOST_PLACES = 5_000
"""The most places that are remembered. Later ones are not, and have to ask again after a restart."""

TICK = timedelta(microseconds=1)


class StoredOrder:
    """A `sessions.QueueMemory`. `async with` it; all methods: the event loop's thread.

    It compares the wanted order with the stored one, so nothing accumulates while the database cannot be reached; the next write saves all.
    """

    def __init__(self, queue: Queue, *, clock: Clock, now: Callable[[], float] = time.time) -> None:
        """`now` is the time that all processes on the database agree on, in seconds since 1970."""
        self._queue = queue
        self._clock = clock
        self._now = now
        self._wanted: dict[Place, QueueEntry] = {}
        self._stored: dict[Place, QueueEntry] = {}
        self._newest = datetime.min.replace(tzinfo=timezone.utc)
        self._released: set[Shard] = set()
        """The shards that other processes have now, and this one had."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Try to write the last changes, for a moment."""
        if self._task is None:
            return
        _, unfinished = await asyncio.wait({self._task}, timeout=LAST_WRITES_S)
        if unfinished:
            log.warning("queue order not up to date")
            self._task.cancel()
            await asyncio.wait(unfinished)
        self._task = None

    async def load(self, shard: Shard = WHOLE) -> Iterable[tuple[Place, int | None]]:
        """Who had a call or waited when the last process ended, in the order of their requests. Empty if the database fails.

        With `shard`, only in its guilds, which were another process's: from now on their places are kept here.
        """
        self._released = {one for one in self._released if one.count == shard.count and one != shard}
        try:
            found = await self._queue.list()
        except StoreError as fault:
            log.warning("queue order not read", cause=fault.full)
            return []
        ours = {Place(one.guild_id, one.channel_id): one for one in sorted(found, key=lambda one: one.since) if shard.covers(one.guild_id)}
        self._drop(shard.covers)
        self._stored |= ours
        self._wanted |= ours
        self._newest = max((one.since for one in found), default=self._newest)
        return [(place, one.user_id) for place, one in ours.items()]

    @property
    def since(self) -> Mapping[Place, float]:
        """When each channel asked, in seconds since 1970."""
        return {place: one.since.timestamp() for place, one in self._wanted.items()}

    def release(self, shard: Shard) -> None:
        """Another process keeps the places of this shard's guilds from now on: what happens to them here is not saved."""
        self._released.add(shard)
        self._drop(shard.covers)

    def is_saved(self, covers: Callable[[int], bool]) -> bool:
        """Whether everything of these guilds is stored."""
        changed = self._wanted.items() ^ self._stored.items()
        return not any(covers(place.guild_id) for place, _ in changed)

    def entered(self, place: Place, asker: int | None) -> None:
        """A channel got a call or waits. A known channel keeps its place."""
        self._newest = max(datetime.fromtimestamp(self._now(), timezone.utc), self._newest + TICK)
        self._remember(place, asker, self._newest)

    def returned(self, place: Place, asker: int | None, before: float | None) -> None:
        """A channel waits in front of everybody: also of other processes' channels, which have asked at `before` at the earliest."""
        earliest = min((one.since for one in self._wanted.values()), default=datetime.fromtimestamp(self._now(), timezone.utc))
        elsewhere = earliest if before is None else datetime.fromtimestamp(before, timezone.utc)
        self._remember(place, asker, min(earliest, elsewhere) - TICK)

    def moved(self, before: Place, after: Place) -> None:
        """A call moved to another channel and keeps its place."""
        one = self._wanted.pop(before, None)
        if one:
            self._wanted[after] = replace(one, guild_id=after.guild_id, channel_id=after.channel_id)
            self._stir()

    def left(self, place: Place) -> None:
        """A channel has no call any more and does not wait."""
        if self._wanted.pop(place, None):
            self._stir()

    def forget(self, owner: Owner, _call: str | None = None) -> None:
        """Remove a person from the places that they asked for, or all places of a guild. The store does the same by itself."""
        for places in (self._wanted, self._stored):
            for place, one in [*places.items()]:
                if owner == Owner("guild", place.guild_id):
                    del places[place]
                elif one.user_id is not None and owner == Owner("person", one.user_id):
                    places[place] = replace(one, user_id=None)

    def _remember(self, place: Place, asker: int | None, since: datetime) -> None:
        if place not in self._wanted and len(self._wanted) < MOST_PLACES and not self._is_released(place):
            self._wanted[place] = QueueEntry(place.guild_id, place.channel_id, asker, since)
            self._stir()

    def _drop(self, covers: Callable[[int], bool]) -> None:
        for places in (self._wanted, self._stored):
            for place in [place for place in places if covers(place.guild_id)]:
                del places[place]

    def _is_released(self, place: Place) -> bool:
        return any(shard.covers(place.guild_id) for shard in self._released)

    def _stir(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_behind(), name="queue memory")

    async def _write_behind(self) -> None:
        """Write until the store is up to date, however long that takes."""
        while self._stored != self._wanted:
            try:
                await self._write_one()
            except StoreError as fault:
                log.warning("queue order not saved", cause=fault.full, retry_in_s=RETRY_S)
                await self._clock.sleep_until(self._clock.now() + RETRY_S)

    async def _write_one(self) -> None:
        outdated = next((place for place, one in self._stored.items() if self._wanted.get(place) != one), None)
        place = outdated or next(place for place in self._wanted if place not in self._stored)
        try:
            if outdated:
                await self._queue.leave(place.guild_id, place.channel_id)
                self._stored.pop(place, None)
            else:
                one = self._wanted[place]
                await self._queue.enter(one)
                if not self._is_released(place):
                    self._stored[place] = one
        except TakenOverError:  # another process keeps the places of this guild; `release` is about to say so
            self._drop(lambda guild_id: guild_id == place.guild_id)
