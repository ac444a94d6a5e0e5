"""Opening the store, and what it gives."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import structlog

from discordplex.errors import StoreError
from discordplex.store import address, schema
from discordplex.store.address import MEMORY, Address
from discordplex.store.backends import open_backend
from discordplex.store.database import BUSY_S, PATIENCE, Database
from discordplex.store.guilds import Guilds
from discordplex.store.people import People
from discordplex.store.personas import Personas
from discordplex.store.privacy import Privacy
from discordplex.store.queue import Queue
from discordplex.store.transcripts import Transcripts

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Store:
    """Settings that outlive a restart. All methods of its parts: the event loop's thread.

    Each is one transaction: once it has returned, what it saved survives a kill -9; where it raises StoreError, whose text may be shown
    to people, nothing was saved. It takes `BUSY_S` times `PATIENCE` at most. They may run at once, for many guilds.
    """

    guilds: Guilds
    people: People
    personas: Personas
    queue: Queue
    transcripts: Transcripts
    privacy: Privacy
    volatile: bool
    """It is in memory, and forgotten at the end."""
    problem: str | None
    """Where it is that because the database could not be opened: why, for people. Who opted out earlier is not known then."""


@asynccontextmanager
async def open_store(url: str, *, volatile: bool = False, busy_s: float = BUSY_S) -> AsyncIterator[Store]:
    """The store at `url` (`store.url`), its schema migrated to today's.

    Raises ConfigError for a URL that is none, and StoreError where the database cannot be opened, is damaged, locked for longer than
    `busy_s`, or newer than this code; with `volatile` a store in memory takes its place then and says so.
    """
    where, problem = address.parse(url), None
    try:
        database = await open_database(where, busy_s)
    except StoreError as fault:
        if not volatile:
            raise
        log.warning("settings are kept in memory only", why=str(fault))
        problem = f"{fault} Until that is mended and the bot is started again, settings are kept in memory only."
        where = MEMORY
        database = await open_database(where, busy_s)
    try:
        yield compose(database, volatile=where.kind == "memory", problem=problem)
    finally:
        with anyio.CancelScope(shield=True):
            await database.close()


async def open_database(where: Address, busy_s: float) -> Database:
    """A database with today's schema; closed again where it raises."""
    where.prepare()
    # Memory is never late, only this process is; and a transaction that is cut off would take the whole of it along.
    patience_s = None if where.kind == "memory" else busy_s * PATIENCE
    database = Database(open_backend(where, busy_s), patience_s=patience_s)
    try:
        if where.kind == "memory":
            await schema.make_in_memory(database)
        else:
            await schema.bring_up_to_date(database, where.shown)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await database.close()
        raise
    return database


def compose(database: Database, *, volatile: bool, problem: str | None) -> Store:
    """The store's parts on one database."""
    return Store(
        guilds=Guilds(database),
        people=People(database),
        personas=Personas(database),
        queue=Queue(database),
        transcripts=Transcripts(database),
        privacy=Privacy(database),
        volatile=volatile,
        problem=problem,
    )
