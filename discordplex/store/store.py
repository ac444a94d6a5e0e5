"""Opening the store, and what it gives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import structlog

from discordplex.clock import Clock
from discordplex.errors import StoreError
from discordplex.store import address, rescue, schema
from discordplex.store.address import Address
from discordplex.store.backends import open_backend
from discordplex.store.database import BUSY_S, PATIENCE, Database
from discordplex.store.filelock import SecondProcessError, alone
from discordplex.store.guilds import Guilds
from discordplex.store.notices import StoredNotices
from discordplex.store.people import People
from discordplex.store.personas import Personas
from discordplex.store.privacy import Privacy
from discordplex.store.queue import Queue
from discordplex.store.transcripts import Transcripts
from discordplex.store.watch import Heard, watch

log = structlog.get_logger()


class Store:
    """Settings that outlive a restart. All methods of its parts: the event loop's thread.

    Each is one transaction: once it has returned, what it saved survives a kill -9; where it raises StoreError, whose text may be shown
    to people, nothing was saved. It takes `BUSY_S` times `PATIENCE` at most. They may run at once, for many guilds.
    """

    def __init__(self, where: Address, database: Database) -> None:
        self._where = where
        self._database = database
        self._opened: tuple[int, int] | None = None
        database.moved = lambda: self.moved
        self._lock = ExitStack()
        self._locked = False
        self.guilds = Guilds(database)
        self.people = People(database)
        self.personas = Personas(database)
        self.queue = Queue(database)
        self.notices = StoredNotices(database)
        self.transcripts = Transcripts(database)
        self.privacy = Privacy(database)

    @property
    def volatile(self) -> bool:
        """Nothing is saved: it is in memory by its address, or the database could not be opened so far."""
        return self._where.kind == "memory" or self.problem is not None

    @property
    def shared(self) -> bool:
        """Other processes may use the same database."""
        return self._where.kind == "server"

    @property
    def problem(self) -> str | None:
        """Why the database could not be opened so far, as sentences for people; None where it could."""
        return self._database.problem and f"{self._database.problem} Until it can be, settings are kept in memory only."

    @property
    def unclean(self) -> bool:
        """Deleted text is still in SQLite's journal; `scrub` again."""
        return self._database.unclean

    @property
    def moved(self) -> bool:
        """The file that was opened was deleted, or replaced by another one."""
        return self._opened is not None and identity(self._where.path) != self._opened

    async def scrub(self) -> bool:
        """Remove deleted text from SQLite's journal; whether that was done. Never raises."""
        return await self._database.scrub()

    async def opted_out(self) -> frozenset[int]:
        """Everybody who is not to be heard, from a database that cannot be written too. Raises StoreError where it does not tell."""
        try:
            return await self.people.opted_out()
        except StoreError:
            found = await rescue.opted_out(self._where.path) if self._where.path else None
            if found is None:
                raise
            return found

    async def recover(self) -> None:
        """Open the database, or open it again after it failed, on new connections. Raises StoreError where it cannot be used."""
        if self._where.kind == "memory":
            return
        try:
            self._where.prepare()
            self._opened = identity(self._where.path)
            self._be_alone()
            await schema.bring_up_to_date(self._database, self._where.shown)
        except StoreError as fault:
            self._database.problem = str(fault)
            self._database.readable = await schema.is_current(self._database)
            raise
        self._database.problem = None
        self._database.readable = True
        await self._database.scrub()  # what a process deleted that was killed before it could empty the journal

    async def close(self) -> None:
        """Let go of the database; never raises, takes a bounded time."""
        await self._database.close()
        self._lock.close()

    def _be_alone(self) -> None:
        if self._where.path and not self._locked:
            self._lock.enter_context(alone(self._where.path))
            self._locked = True

    @asynccontextmanager
    async def watched(self, clock: Clock, heard: Heard) -> AsyncIterator[None]:
        """Inside the block `heard` is called, on the loop, when another process changes something about people. SQLite has one process."""
        if self._where.kind != "server":
            yield
            return
        watching = asyncio.create_task(watch(self._database, self._where.url, clock, heard), name="store:watch")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def identity(path: Path | None) -> tuple[int, int] | None:
    """Which file there is at a path, None where there is none or the database is no file."""
    try:
        state = path.stat() if path else None
    except OSError:
        return None
    return (state.st_dev, state.st_ino) if state else None


@asynccontextmanager
async def open_store(url: str, *, volatile: bool = False, busy_s: float = BUSY_S) -> AsyncIterator[Store]:
    """The store at `url` (`store.url`), its schema migrated to today's.

    Raises ConfigError for a URL that is none, and StoreError where another process uses the SQLite file, or the database cannot be opened,
    is damaged, locked for longer than `busy_s`, or newer than this code. With `volatile` it is given all the same in the latter cases: then
    its `problem` is set, writes raise until `recover` succeeds, and what can be read is read.
    """
    where = address.parse(url)
    # Memory is never late, only this process is; and a transaction that is cut off would take the whole of it along.
    database = Database(open_backend(where, busy_s), patience_s=None if where.kind == "memory" else busy_s * PATIENCE)
    store = Store(where, database)
    try:
        if where.kind == "memory":
            await schema.make_in_memory(database)
        try:
            await store.recover()
        except SecondProcessError:
            raise
        except StoreError as fault:
            if not volatile:
                raise
            log.warning("settings are kept in memory only", cause=fault.full)
        yield store
    finally:
        with anyio.CancelScope(shield=True):
            await store.close()
