"""UsageMemory: saves the seconds of `Usage` in the background, so that a restart does not reset a limit."""

import asyncio
from collections.abc import Callable
from types import TracebackType

import structlog
from typing_extensions import Self

from discordplex.bot.scheduling.usage import Usage
from discordplex.clock import Clock
from discordplex.errors import StoreError
from discordplex.store.usage import StoredUsage
from discordplex.tasks import cancel_and_wait, until

log = structlog.get_logger()

SAVE_S = 60.0
"""How often the seconds are saved. A process that is killed loses those of at most this time."""

LAST_WRITE_S = 1.0
"""How long the process waits for the last write when it ends."""


class UsageMemory:
    """`load` it, then `async with` it. Nobody waits for the database, and its failure ends no call. Thread: loop."""

    def __init__(self, usage: Usage, stored: StoredUsage, *, clock: Clock) -> None:
        self._usage = usage
        self._stored = stored
        self._clock = clock
        self._loaded = False
        self._saved_hour = 0
        """The oldest hour that counted at the last save: after it, older rows are deleted."""
        self._saving = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def load(self, covers: Callable[[int], bool] | None = None) -> None:
        """Read what earlier processes have counted. If the database fails, it is read before the next save.

        With `covers`, read again what other processes have counted in these guilds.
        """
        try:
            await self._load(covers)
        except StoreError as fault:
            log.warning("used minutes not read", cause=fault.full)

    def is_saved(self, covers: Callable[[int], bool]) -> bool:
        """Whether the next process that reads what these guilds have used reads all. If not, it is saved now."""
        if not any(covers(one.guild_id) for one in self._usage.unsaved):
            return True
        self._wanted.set()
        return False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._save_again_and_again(), name="usage memory")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Try to save the last seconds, for a moment."""
        last = asyncio.create_task(self._save(cleans=False), name="usage memory: last")
        _, unfinished = await asyncio.wait({last}, timeout=LAST_WRITE_S)
        await cancel_and_wait(*(task for task in (self._task, *unfinished) if task))

    async def _save_again_and_again(self) -> None:
        succeeded = True
        while True:
            sooner = self._wanted if succeeded else asyncio.Event()  # a database that fails is not asked more often
            await until(sooner, self._clock.sleep_until(self._clock.now() + SAVE_S))
            self._wanted.clear()
            succeeded = await self._save()

    async def _load(self, covers: Callable[[int], bool] | None = None) -> None:
        stored = await self._stored.list(self._usage.oldest_hour)
        if covers is None:
            self._usage.restore(stored)
            self._loaded = True
        elif self._loaded:
            self._usage.replace([one for one in stored if covers(one.guild_id)], covers)

    async def _save(self, *, cleans: bool = True) -> bool:
        """Add the new seconds to the stored ones, so that those of other processes stay. Old rows alone are only deleted if it `cleans`.

        Returns whether that succeeded.

        The end of the process does not: a database that is locked may hold each write for two seconds, and the end has five for all.
        """
        async with self._saving:
            rows, oldest_hour = self._usage.unsaved, self._usage.oldest_hour
            try:
                if not self._loaded and (rows or cleans):
                    await self._load()
                if rows or (cleans and oldest_hour != self._saved_hour):
                    await self._stored.add(rows, since_hour=oldest_hour)
                    self._usage.saved(rows)
                    self._saved_hour = oldest_hour
            except StoreError as fault:
                log.warning("used minutes not saved", cause=fault.full)
                return False
        return True
