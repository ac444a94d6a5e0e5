"""The one door to the database: each piece of work is one transaction, bounded in time, and its failure one plain sentence."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.errors import StoreError
from discordplex.store.backends import Backend, Insert
from discordplex.store.reasons import SILENT, code, is_of_the_database, lost_connection, reason

log = structlog.get_logger()

T = TypeVar("T")
Work: TypeAlias = Callable[[AsyncConnection], Awaitable[T]]

BUSY_S = 2.0
"""So long a lock of somebody else is waited for: a backup's or a second program's short one passes, and a person is not kept waiting."""

PATIENCE = 1.5
"""Times the wait for a lock, and a piece of work is given up, its wait for its turn included."""


@dataclass(slots=True)
class Attempt:
    """How far a transaction came."""

    committing: bool = False


class Database:
    """Transactions on one backend. All methods: the event loop's thread.

    A caller who is cancelled does not wait any longer, but a transaction that began is finished: cutting one off costs its connection.
    """

    def __init__(self, backend: Backend, *, patience_s: float | None = BUSY_S * PATIENCE) -> None:
        self.insert: Insert = backend.insert
        self._backend = backend
        self._patience_s = patience_s
        lock = asyncio.Lock() if backend.one_writer else nullcontext()
        self._write_turn: AbstractAsyncContextManager[None] = lock
        self._read_turn: AbstractAsyncContextManager[None] = lock if backend.one_reader else nullcontext()
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def read(self, failure: str, work: Work[T]) -> T:
        """What `work` reads. `failure` begins the sentence where it cannot, such as "The settings were not read"."""
        return await self._bounded(failure, self._reading(work), Attempt())

    async def write(self, failure: str, work: Work[T], patience_s: float | None = None) -> T:
        """What `work` answers, once what it wrote is on the disk; nothing of it is where this raises.

        What `work` itself raises passes through, and undoes what it wrote.
        """
        attempt = Attempt()
        return await self._bounded(failure, self._writing(work, attempt), attempt, patience_s)

    async def scrub(self) -> None:
        """Write deletions through to the file itself, so that its journal keeps nothing of what was deleted. As far as possible."""
        try:
            await self._bounded("The journal was not emptied", self._scrubbing(), Attempt())
        except StoreError:
            log.info("deleted settings stay in the journal until it is written over")

    async def close(self) -> None:
        """Finish what runs and let go of the database; never raises, takes a bounded time."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running, timeout=self._patience_s)
        for task in self._running:
            task.cancel()
        ending = self._started(self._backend.engine.dispose())
        await asyncio.wait({ending}, timeout=self._patience_s)
        if not ending.done() or ending.exception():
            log.warning("the database did not close")

    async def _reading(self, work: Work[T]) -> T:
        async with self._read_turn, self._backend.reader.connect() as connection:
            return await work(connection)

    async def _writing(self, work: Work[T], attempt: Attempt) -> T:
        async with self._write_turn, self._backend.engine.connect() as connection:
            result = await work(connection)
            attempt.committing = True
            await connection.commit()
            return result

    async def _scrubbing(self) -> None:
        if not self._backend.one_writer:
            return  # a server vacuums by itself
        async with self._write_turn, self._backend.engine.execution_options(begin=None).connect() as connection:
            await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _bounded(self, failure: str, work: Coroutine[Any, Any, T], attempt: Attempt, patience_s: float | None = None) -> T:
        if self._closed:
            work.close()
            raise StoreError(f"{failure}: the bot is stopping.")
        task = self._started(work)
        await asyncio.wait({task}, timeout=patience_s or self._patience_s)
        if not task.done():
            task.cancel()
            raise complaint(failure, SILENT, certain=not attempt.committing)
        if task.cancelled():
            raise StoreError(f"{failure}: the bot is stopping.")
        fault = task.exception()
        if fault is None:
            return task.result()
        if not is_of_the_database(fault):
            raise fault
        log.warning("the database failed", doing=failure, code=code(fault))
        raise complaint(failure, reason(fault), certain=not (attempt.committing and lost_connection(fault)))

    def _started(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name="store")
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # somebody saw it, even where nobody waits any more


def complaint(failure: str, why: str, *, certain: bool) -> StoreError:
    """The sentence, which owns up where the database went away in the middle of its answer."""
    return StoreError(f"{failure}{'' if certain else ', as far as we know'}: {why}.")
