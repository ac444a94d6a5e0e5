"""All access to the database: each piece of work is one transaction with a time limit, and a failure is one plain sentence."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.errors import StoreError
from discordplex.store.backends import Backend, Insert, join_failed
from discordplex.store.fence import Fence, NoFence, TakenOverError
from discordplex.store.reasons import SILENT, UNREACHABLE, code, is_of_the_database, lost_connection, may_pass, reason

log = structlog.get_logger()

T = TypeVar("T")
Work: TypeAlias = Callable[[AsyncConnection], Awaitable[T]]

BUSY_S = 2.0
"""How long to wait for another program's lock: long enough for a short one, such as a backup's, and short for a person who waits."""

PATIENCE = 1.5
"""A piece of work, including the wait for its turn, may take this many times the wait for a lock."""


CLOSE_S = 1.0
"""How long the end waits for what runs, and for the connections to close: a process that is asked to end has 5 s for everything."""

SCRUB_BUSY_MS = 200
"""How long emptying the journal waits for a reader."""


class PrioritySemaphore:
    """Lets `places` pieces of work use the connections at once. All methods: the event loop's thread.

    Ordinary work leaves `reserved` places free. Urgent work comes first; otherwise the order is first come, first served.
    """

    def __init__(self, places: int, *, reserved: int = 0) -> None:
        self._free = places
        self._reserved = reserved
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._ordinary: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside the `with` block."""
        mine = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._ordinary).append(mine)
        self._admit()
        try:
            await mine
            yield
        finally:
            if not mine.done():
                mine.cancel()
            if not mine.cancelled():
                self._free += 1
            self._admit()

    def _admit(self) -> None:
        while (queue := self._next()) is not None:
            first = queue.popleft()
            if not first.done():
                first.set_result(None)
                self._free -= 1

    def _next(self) -> deque[asyncio.Future[None]] | None:
        if self._urgent and self._free > 0:
            return self._urgent
        if self._ordinary and self._free > self._reserved:
            return self._ordinary
        return None


@dataclass(slots=True)
class Attempt:
    """The progress of a transaction."""

    committing: bool = False


class Database:
    """Transactions on one backend. All methods: the event loop's thread.

    A cancelled caller stops waiting, but a transaction that has begun is finished, because cancelling it would cost its connection.
    While `problem` is set (the database could not be opened), every write raises it, and so does every read unless `readable`.
    """

    def __init__(self, backend: Backend, *, patience_s: float | None = BUSY_S * PATIENCE) -> None:
        self.insert: Insert = backend.insert
        self.problem: str | None = None
        self.readable = True
        self.moved: Callable[[], bool] = lambda: False
        """Whether the file was replaced while the connections have the old one open: writes would be lost."""
        self.unclean = False
        """Deleted text is still in SQLite's journal: call `scrub` again."""
        self.fence: Fence = NoFence()
        """What every write passes."""
        self._backend = backend
        self._patience_s = patience_s
        self._write_turns = PrioritySemaphore(backend.writers, reserved=backend.reserved)
        self._read_turns = PrioritySemaphore(backend.readers) if backend.readers else self._write_turns
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def read(self, failure: str, work: Work[T], *, even_unready: bool = False) -> T:
        """Return what `work` reads. `failure` is the start of the sentence if it fails, such as "The settings were not read".

        `even_unready`: try even if the database could not be opened. Then `work` may use only tables that every schema has.
        """
        if self.problem is not None and not (self.readable or even_unready):
            raise StoreError(f"{failure}. {self.problem}", retry=True, why=self.problem)
        return await self._bounded(failure, self._reading(work), Attempt())

    async def write(self, failure: str, work: Work[T], *, urgent: bool = False, still: Callable[[], bool] | None = None) -> T:
        """Return what `work` returns, when what it wrote is on the disk. If this raises, nothing is written.

        An exception of `work` itself passes through and undoes what it wrote. Urgent work, such as a wish about privacy, does not wait for
        ordinary work, except for the one transaction that SQLite is running. With `still`, which is asked right before the commit when it
        is known what this process has, False raises TakenOverError.
        """
        if self.problem is not None:
            raise StoreError(f"{failure}. {self.problem}", retry=True, why=self.problem)
        if self.moved():
            raise complaint(failure, "the database file is gone, or another one is in its place", retry=True)
        attempt = Attempt()
        return await self._bounded(failure, self._writing(self._fenced(failure, work, still), attempt, urgent=urgent), attempt)

    async def open(self, failure: str, work: Work[None], patience_s: float) -> None:
        """Run the work that makes the database usable, on new connections: old ones may belong to a file that no longer exists."""
        if self._backend.journal:
            await self._bounded(failure, self._disconnecting(), Attempt())
        attempt = Attempt()
        await self._bounded(failure, self._writing(work, attempt, urgent=True), attempt, patience_s)

    async def answers(self, work: Work[Any]) -> bool:
        """Whether the database can be used and does this work in time. Never raises, and logs nothing: it is asked again and again."""
        if self.problem is not None or self.moved() or self._closed:
            return False
        task = self._started(self._reading(work))
        await asyncio.wait({task}, timeout=self._patience_s)
        if not task.done():
            task.cancel()
            return False
        return not task.cancelled() and task.exception() is None

    async def scrub(self) -> bool:
        """Write deletions into the file itself and empty its journal; returns whether that worked. Never raises.

        If it did not work, for example while another program reads the file, `unclean` is set: call it again later.
        """
        self.unclean = True
        try:
            self.unclean = not await self._bounded("The journal was not emptied", self._scrubbing(), Attempt())
        except StoreError as fault:
            log.warning("deleted data still in the database journal", cause=str(fault))
        return not self.unclean

    async def close(self) -> None:
        """Finish running work and close the database; never raises, and takes at most `CLOSE_S` for each of the two."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSE_S)
        for task in self._running:
            task.cancel()
        ending = self._started(self._backend.engine.dispose())
        await asyncio.wait({ending}, timeout=CLOSE_S)
        if not ending.done() or ending.exception():
            log.warning("database did not close")
        if self._backend.journal:
            await asyncio.to_thread(join_failed)

    async def _reading(self, work: Work[T]) -> T:
        async with self._read_turns.turn(), self._backend.reader.connect() as connection:
            return await work(connection)

    async def _writing(self, work: Work[T], attempt: Attempt, *, urgent: bool) -> T:
        async with self._write_turns.turn(urgent=urgent), self._backend.engine.connect() as connection:
            result = await work(connection)
            attempt.committing = True
            await connection.commit()
            return result

    def _fenced(self, failure: str, work: Work[T], still: Callable[[], bool] | None) -> Work[T]:
        """The work of a process that may have stood still before it, or stands still in the middle of it."""

        async def fenced(connection: AsyncConnection) -> T:
            await self.fence.passable()
            if still is not None and not await self.fence.is_sure():
                raise complaint(failure, UNREACHABLE, retry=True)
            if self._backend.opening:
                await connection.exec_driver_sql(self._backend.opening)
            result = await work(connection)
            if not self.fence.alive:
                raise complaint(failure, "the bot stood still", retry=True)
            if still is not None and not still():
                raise TakenOverError(f"{failure}: another process of the bot is responsible for it now.")
            return result

        return fenced

    async def _disconnecting(self) -> None:
        async with self._write_turns.turn(urgent=True), self._read_turns.turn():  # a connection in use would not be closed
            await self._backend.engine.dispose()

    async def _scrubbing(self) -> bool:
        if not self._backend.journal:
            return True  # a PostgreSQL server vacuums by itself
        async with self._write_turns.turn(urgent=True), self._backend.engine.execution_options(begin=None).connect() as connection:
            usual_ms = (await connection.exec_driver_sql("PRAGMA busy_timeout")).scalar_one()
            # Wait only briefly for a reader, because writers have to wait too.
            await connection.exec_driver_sql(f"PRAGMA busy_timeout = {min(usual_ms, SCRUB_BUSY_MS)}")
            try:
                busy = (await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0]
            finally:
                await connection.exec_driver_sql(f"PRAGMA busy_timeout = {usual_ms}")
            return not busy

    async def _bounded(self, failure: str, work: Coroutine[Any, Any, T], attempt: Attempt, patience_s: float | None = None) -> T:
        if self._closed:
            work.close()
            raise complaint(failure, "the bot is stopping", retry=True)
        task = self._started(work)
        await asyncio.wait({task}, timeout=patience_s or self._patience_s)
        if not task.done():
            task.cancel()
            raise complaint(failure, SILENT, certain=not attempt.committing, retry=True)
        if task.cancelled():
            raise complaint(failure, "the bot is stopping", retry=True)
        fault = task.exception()
        if fault is None:
            return task.result()
        if not is_of_the_database(fault):
            raise fault
        log.warning("database failed", doing=failure, code=code(fault))
        certain = not (attempt.committing and lost_connection(fault))
        raise complaint(failure, reason(fault), certain=certain, retry=may_pass(fault))

    def _started(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name="store")
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # mark the exception as retrieved, even if nobody waits any more


def complaint(failure: str, why: str, *, certain: bool = True, retry: bool) -> StoreError:
    """The error. If the connection was lost during a commit (not `certain`), the sentence says that the result is unknown."""
    return StoreError(f"{failure}{'' if certain else ', as far as we know'}: {why}.", retry=retry, why=f"{why[:1].upper()}{why[1:]}.")
