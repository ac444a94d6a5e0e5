"""SQLite and PostgreSQL with SQLAlchemy, opened so that a commit is durable."""

import asyncio
import contextlib
import importlib
import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakSet

from sqlalchemy import Connection, Table, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from discordplex.store.address import Address

JOURNAL = "PRAGMA journal_mode = WAL"
"""In WAL mode, readers and the writer do not wait for each other."""

PRAGMAS = (
    "PRAGMA synchronous = FULL",  # a commit returns when it is on the disk
    "PRAGMA fullfsync = ON",  # the same on macOS, where fsync does not empty the drive's cache
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # what was deleted is overwritten
    "PRAGMA temp_store = MEMORY",
)

JOIN_S = 1.0

GOODBYE_S = 0.25
"""How long a server may take to close a connection; then it is dropped. A server that answers needs one round trip."""

SERVER_CONNECTIONS = 4
FILE_CONNECTIONS = 2
"""One connection for the writer, one for readers; each has its own thread."""

STANDSTILL_MS = 2000
"""The server ends a transaction in whose middle its process stands still for so long: others wait for its locks."""

Insert: TypeAlias = Callable[[Table], sqlite.Insert]
"""`INSERT` with `ON CONFLICT`; PostgreSQL's has the same methods."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of database, opened lazily."""

    engine: AsyncEngine
    reader: AsyncEngine
    """The same connections for transactions that only read."""
    insert: Insert
    writers: int
    """How many may write at once. SQLite allows one, and is not fair to those who wait."""
    readers: int = 0
    """How many may read at once; 0 if readers take turns with the writers."""
    reserved: int = 0
    """Connections that are kept free for urgent work."""
    opening: str = ""
    """The first statement of each transaction that writes."""
    journal: bool = False
    """Whether deleted data stays in a journal until that is written back and emptied."""


class DurableConnection(sqlite3.Connection):
    """A connection that is configured before its first use. Thread: aiosqlite's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            # A file that is read-only or locked keeps its journal mode.
            with contextlib.suppress(sqlite3.OperationalError):
                self.execute(JOURNAL)
            for pragma in PRAGMAS:
                self.execute(pragma)
        except BaseException:
            self.close()
            FAILED.add(threading.current_thread())
            raise


FAILED: WeakSet[threading.Thread] = WeakSet()
"""Threads of connections that could not be opened. aiosqlite does not wait for them; they must end before the loop is closed."""


def join_failed() -> None:
    """Wait until those threads have ended. Blocks for a moment."""
    for thread in list(FAILED):
        thread.join(JOIN_S)


def open_backend(address: Address, busy_s: float) -> Backend:
    """The database at `address`; waits at most `busy_s` for another program's lock. Connects at the first use."""
    return open_postgresql(address, busy_s) if address.kind == "server" else open_sqlite(address, busy_s)


def open_sqlite(address: Address, busy_s: float) -> Backend:
    """An SQLite file, or a database in memory."""
    # At debug level aiosqlite logs every statement with its values: prompts, transcripts.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
    memory = address.kind == "memory"
    pool = {} if memory else {"pool_size": FILE_CONNECTIONS, "max_overflow": 0, "pool_timeout": busy_s}
    # Without an isolation level sqlite3 opens no transactions of its own; `begin` below does.
    arguments = {"timeout": busy_s, "isolation_level": None, "factory": DurableConnection}
    engine = create_async_engine(address.url, hide_parameters=True, connect_args=arguments, **pool)
    event.listen(engine.sync_engine, "begin", begin)
    reader = engine.execution_options(begin="BEGIN")
    readers = 0 if memory else FILE_CONNECTIONS - 1
    return Backend(engine, reader, sqlite.insert, writers=1, readers=readers, journal=not memory)


def begin(connection: Connection) -> None:
    """Take the write lock before the first statement. A transaction that reads first could be refused at its first write."""
    statement = connection.get_execution_options().get("begin", "BEGIN IMMEDIATE")
    if statement:
        connection.exec_driver_sql(statement)


def prompt_connection() -> Any:
    """A class of asyncpg's connections that `close` within `GOODBYE_S`, whatever the server does."""
    asyncpg: Any = importlib.import_module("asyncpg")  # here, and without types: SQLite's users need not have it

    class PromptConnection(asyncpg.Connection):  # type: ignore[misc]
        async def close(self, *, timeout: float | None = None) -> None:
            """Say goodbye, for `GOODBYE_S` at most."""
            del timeout
            with contextlib.suppress(asyncio.TimeoutError):
                await super().close(timeout=GOODBYE_S)

    return PromptConnection


async def connect_directly(url: URL, timeout_s: float) -> Any:
    """A connection of asyncpg's outside every pool, for LISTEN. Opening it, and each statement, may take `timeout_s`."""
    asyncpg: Any = importlib.import_module("asyncpg")  # as in `prompt_connection`
    dialect: Any = url.get_dialect()()
    _, options = dialect.create_connect_args(url)
    bounds = {"timeout": timeout_s, "command_timeout": timeout_s, "statement_cache_size": 0, "connection_class": prompt_connection()}
    return await asyncpg.connect(**options, **bounds)


def open_postgresql(address: Address, busy_s: float) -> Backend:
    """A PostgreSQL server."""
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 2 MiB that SQLite's users need not pay

    engine = create_async_engine(
        address.url,
        hide_parameters=True,
        # Behind a pooler in transaction mode, each transaction may use another server process. A prepared statement that has a name or
        # outlives its transaction then collides with another one (SQLSTATE 42P05) or is missing (26000).
        connect_args={
            "timeout": busy_s,
            "command_timeout": busy_s,
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": str,
            "connection_class": prompt_connection(),
        },
        pool_size=SERVER_CONNECTIONS,
        max_overflow=0,
        pool_timeout=busy_s,
        pool_pre_ping=True,  # after a restart of the server, a new connection is made and no change is lost
    )

    async def no_codec(_: object) -> None:
        """There are no JSON columns, and asking about the type takes two round trips, between which a pooler may change the server."""

    dialect: Any = engine.dialect
    dialect.setup_asyncpg_json_codec = dialect.setup_asyncpg_jsonb_codec = no_codec

    def insert(table: Table) -> Any:
        return postgresql.insert(table)

    opening = f"SET LOCAL idle_in_transaction_session_timeout = {STANDSTILL_MS}"
    return Backend(engine, engine, insert, writers=SERVER_CONNECTIONS, reserved=1, opening=opening)
