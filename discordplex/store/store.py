"""`open_store`, and the `Store` that it gives."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import structlog

from discordplex.clock import Clock
from discordplex.errors import StoreError
from discordplex.overview import StoreState
from discordplex.store import address, rescue, schema
from discordplex.store.address import Address
from discordplex.store.backends import open_backend
from discordplex.store.database import BUSY_S, PATIENCE, Database
from discordplex.store.fence import Fence
from discordplex.store.filelock import SecondProcessError, alone
from discordplex.store.guilds import Guilds
from discordplex.store.notices import StoredNotices
from discordplex.store.people import People
from discordplex.store.personas import Personas
from discordplex.store.privacy import Privacy
from discordplex.store.queue import Queue
from discordplex.store.transcripts import Transcripts
from discordplex.store.usage import StoredUsage
from discordplex.store.watch import Heard, watch
from discordplex.tasks import beside

log = structlog.get_logger()


class Store:
    """Settings that survive a restart. All methods of its parts: the event loop's thread.

    Each method is one transaction. When it returns, what it saved survives a kill -9. If it raises StoreError, whose text may be shown to
    people, nothing was saved. It takes at most `BUSY_S` times `PATIENCE`. Methods may run at the same time.
    """

    def __init__(self, where: Address, database: Database, *, beside_others: bool = False) -> None:
        """`beside_others`: other processes of the bot use the same database, perhaps of a newer version."""
        self._where = where
        self._database = database
        self._beside_others = beside_others
        self._was_open = False
        self._opened: tuple[int, int] | None = None
        database.moved = lambda: self.moved
        self._lock = ExitStack()
        self._locked = False
        self.guilds = Guilds(database)
        self.people = People(database)
        self.personas = Personas(database)
        self.queue = Queue(database)
        self.notices = StoredNotices(database)
        self.usage = StoredUsage(database)
        self.transcripts = Transcripts(database)
        self.privacy = Privacy(database)

    @property
    def fence(self) -> Fence:
        """What every write passes. Set it where several processes share the database."""
        return self._database.fence

    @fence.setter
    def fence(self, fence: Fence) -> None:
        self._database.fence = fence

    @property
    def volatile(self) -> bool:
        """Whether nothing is saved: its URL names memory, or the database could not be opened so far."""
        return self._where.kind == "memory" or self.problem is not None

    @property
    def shared(self) -> bool:
        """Whether other processes may use the same database."""
        return self._where.kind == "server"

    @property
    def problem(self) -> str | None:
        """Why the database could not be opened so far, as sentences for people; None if it is open."""
        return self._database.problem and f"{self._database.problem} Until it can be, settings are kept in memory only."

    @property
    def unclean(self) -> bool:
        """Whether deleted text is still in SQLite's journal: call `scrub` again."""
        return self._database.unclean

    @property
    def moved(self) -> bool:
        """Whether the opened file was deleted or replaced."""
        return self._opened is not None and identity(self._where.path) != self._opened

    async def state(self) -> StoreState:
        """Whether the database answers now. Never raises, and takes a limited time."""
        if self._where.kind == "memory":
            return "memory only"
        return "ok" if await self._database.answers(schema.one_row) else "away"

    async def scrub(self) -> bool:
        """Remove deleted text from SQLite's journal; returns whether that worked. Never raises."""
        return await self._database.scrub()

    async def opted_out(self) -> frozenset[int]:
        """Everybody who must not be heard, even from a database that cannot be written. Raises StoreError if it cannot be read."""
        try:
            return await self.people.opted_out()
        except StoreError:
            found = await rescue.opted_out(self._where.path) if self._where.path else None
            if found is None:
                raise
            return found

    async def recover(self) -> None:
        """Open the database, or open it again after a failure, on new connections. Raises StoreError if that fails.

        If others have migrated it since it was open here, this process goes on with it until it is replaced.
        """
        if self._where.kind == "memory":
            return
        newer = self._beside_others and self._was_open
        try:
            self._where.prepare()
            self._opened = identity(self._where.path)
            self._be_alone()
            await schema.bring_up_to_date(self._database, self._where.shown, newer=newer)
        except StoreError as fault:
            self._database.problem = str(fault)
            self._database.readable = await schema.is_current(self._database, newer=newer)
            raise
        self._was_open = True
        self._database.problem = None
        self._database.readable = True
        await self._database.scrub()  # a process may have been killed between a deletion and this

    async def close(self) -> None:
        """Close the database; never raises, and takes a limited time."""
        await self._database.close()
        self._lock.close()

    def _be_alone(self) -> None:
        if self._where.path and not self._locked:
            self._lock.enter_context(alone(self._where.path))
            self._locked = True

    @asynccontextmanager
    async def watched(self, clock: Clock, heard: Heard) -> AsyncIterator[None]:
        """In the block, `heard` is called on the loop when another process changes data of people. With SQLite there is none."""
        if self._where.kind != "server":
            yield
            return
        async with beside(watch(self._database, self._where.url, clock, heard)):
            yield


def identity(path: Path | None) -> tuple[int, int] | None:
    """The identity of the file at a path; None if there is none, or the database is no file."""
    try:
        state = path.stat() if path else None
    except OSError:
        return None
    return (state.st_dev, state.st_ino) if state else None


@asynccontextmanager
async def open_store(url: str, *, volatile: bool = False, shared: bool = False, busy_s: float = BUSY_S) -> AsyncIterator[Store]:
    """The store at `url` (`store.url`), with its schema migrated to the current one.

    Raises ConfigError for an invalid URL, and StoreError if another process uses the SQLite file. Also raises StoreError if the database
    cannot be opened, is damaged, locked for longer than `busy_s`, or newer than this code, unless `volatile`: then it gives a store whose
    `problem` is set. Its writes raise until `recover` succeeds, and its reads work as far as possible. With `shared`, a newer one is
    refused all the same: other processes of the bot serve everybody with it, and this one would not know who must not be heard.
    """
    where = address.parse(url)
    # Memory is never slow, only this process is. A cancelled transaction would delete the whole database in memory.
    database = Database(open_backend(where, busy_s), patience_s=None if where.kind == "memory" else busy_s * PATIENCE)
    store = Store(where, database, beside_others=shared)
    try:
        if where.kind == "memory":
            await schema.make_in_memory(database)
        try:
            await store.recover()
        except SecondProcessError:
            raise
        except StoreError as fault:
            if not volatile or (shared and isinstance(fault, schema.NewerSchemaError)):
                raise
            log.warning("settings are kept in memory only", cause=fault.full)
        yield store
    finally:
        with anyio.CancelScope(shield=True):
            await store.close()
