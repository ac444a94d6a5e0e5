"""Why a database failed, in words.

A driver's own text is used nowhere else, because PostgreSQL puts whole rows into it.
"""

import asyncio
import sqlite3

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

BUSY = "another program is using the database"
SILENT = "the database did not answer in time"
UNREACHABLE = "the database server cannot be reached"

STATEMENT_MODE = "its pooler allows no transactions: its pool_mode has to be transaction or session"

BY_SQLITE = {
    "locked": BUSY,
    "readonly": "the database is read-only",
    "full": "the disk is full",
    "malformed": "the database file is damaged",
    "not a database": "the file is damaged, or not a database",
    "unable to open": "the database file cannot be opened",
    "disk I/O": "the disk failed",
}
"""By parts of SQLite's messages (Python has its error codes only from 3.11 on)."""

BY_SQLSTATE = {
    "08": UNREACHABLE,
    "22": "it contains characters or numbers that the database does not accept",
    "25006": "the database is read-only",
    "28": "the database server refuses the user name or the password",
    "3D": "the database server has no database of that name",
    "42501": "the database server does not let this user do that",
    "53": "the database server has no room or no connection left",
    "55P03": BUSY,
    "57": "the database server is starting or shutting down",
}
"""By the first characters of PostgreSQL's SQLSTATE codes (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""


def is_of_the_database(fault: BaseException) -> bool:
    """Whether the database failed, or refused a value, and it is not a bug of ours."""
    known = (SQLAlchemyError, sqlite3.Error, OSError, asyncio.TimeoutError, UnicodeError, OverflowError)
    # asyncpg, which may not be installed, raises its own exceptions while it connects.
    return isinstance(fault, known) or type(fault).__module__.startswith("asyncpg.")


def code(fault: BaseException) -> str:
    """The database's error code, for logs; the name of the exception if there is no code."""
    driver = of_the_driver(fault)
    return str(getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None) or type(driver).__name__)


def reason(fault: BaseException) -> str:
    """The failure as the end of a sentence."""
    driver = of_the_driver(fault)
    if isinstance(driver, PoolTimeout | asyncio.TimeoutError):
        return SILENT
    if isinstance(driver, sqlite3.Error):
        return next((words for part, words in BY_SQLITE.items() if part in str(driver)), "the database refused")
    if isinstance(driver, UnicodeError | OverflowError):
        return BY_SQLSTATE["22"]
    if "statement pooling mode" in str(driver):  # PgBouncer's words; it closes the connection, and the code says that alone
        return STATEMENT_MODE
    state = str(getattr(driver, "sqlstate", None) or "")
    by_state = next((words for start, words in BY_SQLSTATE.items() if state.startswith(start)), None)
    return by_state or (UNREACHABLE if lost_connection(fault) else "the database refused")


def may_pass(fault: BaseException) -> bool:
    """Whether the same work may succeed later. Only values that the database does not accept never do."""
    driver = of_the_driver(fault)
    return not isinstance(driver, UnicodeError | OverflowError) and not str(getattr(driver, "sqlstate", None) or "").startswith("22")


def lost_connection(fault: BaseException) -> bool:
    """Whether the connection was lost, so that nobody knows whether the last statement was executed."""
    return isinstance(of_the_driver(fault), OSError | asyncio.TimeoutError) or bool(getattr(fault, "connection_invalidated", False))


def of_the_driver(fault: BaseException) -> BaseException:
    """The driver's exception inside SQLAlchemy's."""
    seen = fault
    while True:
        below = getattr(seen, "orig", None) or (seen.__cause__ if type(seen).__module__.startswith("sqlalchemy.") else None)
        if below is None:
            return seen
        seen = below
