"""SQLite and PostgreSQL behind SQLAlchemy: how each is opened so that a commit lasts."""

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from discordplex.store.address import Address

PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # readers and the writer do not wait for each other
    "PRAGMA synchronous = FULL",  # a commit returns when it is on the disk
    "PRAGMA fullfsync = ON",  # the same on macOS, where fsync stops at the drive's cache
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # what was deleted is overwritten
    "PRAGMA temp_store = MEMORY",
)

SERVER_CONNECTIONS = 4
FILE_CONNECTIONS = 2
"""One for the writer, one for whoever reads meanwhile; each is a thread."""

Insert: TypeAlias = Callable[[Table], sqlite.Insert]
"""`INSERT` that may say `ON CONFLICT`; PostgreSQL's takes the same words."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of database, opened lazily."""

    engine: AsyncEngine
    reader: AsyncEngine
    """The same connections for transactions that only read."""
    insert: Insert
    one_writer: bool
    """Writers take turns here: the database lets one at a time in and is not fair to those who wait."""
    one_reader: bool = False
    """Everybody takes turns: there is a single connection."""


class DurableConnection(sqlite3.Connection):
    """A connection set up before anybody uses it. Thread: aiosqlite's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            for pragma in PRAGMAS:
                self.execute(pragma)
        except BaseException:
            self.close()
            raise


def open_backend(address: Address, busy_s: float) -> Backend:
    """The database at `address`; waits at most `busy_s` for a lock of somebody else. Connects when it is first used."""
    return open_postgresql(address, busy_s) if address.kind == "server" else open_sqlite(address, busy_s)


def open_sqlite(address: Address, busy_s: float) -> Backend:
    """A file, or memory."""
    # At debug level aiosqlite logs every statement with its values: prompts, transcripts.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
    memory = address.kind == "memory"
    pool = {} if memory else {"pool_size": FILE_CONNECTIONS, "max_overflow": 0, "pool_timeout": busy_s}
    # Without an isolation level sqlite3 opens no transactions of its own; `begin` below does.
    arguments = {"timeout": busy_s, "isolation_level": None, "factory": DurableConnection}
    engine = create_async_engine(address.url, hide_parameters=True, connect_args=arguments, **pool)
    event.listen(engine.sync_engine, "begin", begin)
    reader = engine.execution_options(begin="BEGIN")
    return Backend(engine, reader, sqlite.insert, one_writer=True, one_reader=memory)


def begin(connection: Connection) -> None:
    """Take the write lock before the first statement: a transaction that reads first and writes then could be refused in its middle."""
    statement = connection.get_execution_options().get("begin", "BEGIN IMMEDIATE")
    if statement:
        connection.exec_driver_sql(statement)


def open_postgresql(address: Address, busy_s: float) -> Backend:
    """A server."""
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 2 MiB that SQLite's users need not pay

    engine = create_async_engine(
        address.url,
        hide_parameters=True,
        connect_args={"timeout": busy_s, "command_timeout": busy_s},
        pool_size=SERVER_CONNECTIONS,
        max_overflow=0,
        pool_timeout=busy_s,
        pool_pre_ping=True,  # a server that was restarted costs a new connection, not a setting
    )

    def insert(table: Table) -> Any:
        return postgresql.insert(table)

    return Backend(engine, engine, insert, one_writer=False)
