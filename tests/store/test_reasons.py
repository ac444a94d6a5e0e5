"""Why a database failed, in words."""

import asyncio
import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from discordplex.store.reasons import code, is_of_the_database, lost_connection, reason


class RefusedError(Exception):
    """What asyncpg raises, as far as it is looked at."""

    __module__ = "asyncpg.exceptions"

    def __init__(self, sqlstate: str) -> None:
        super().__init__(f"DETAIL: Failing row contains (a prompt). {sqlstate}")
        self.sqlstate = sqlstate


def wrapped(fault: BaseException) -> DBAPIError:
    """As SQLAlchemy hands it on."""
    return OperationalError("INSERT ...", {"text": "a prompt"}, fault)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (sqlite3.OperationalError("database is locked"), "another program"),
        (sqlite3.OperationalError("database or disk is full"), "disk is full"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "read-only"),
        (sqlite3.DatabaseError("database disk image is malformed"), "damaged"),
        (sqlite3.DatabaseError("file is not a database"), "not a database"),
        (sqlite3.OperationalError("unable to open database file"), "cannot be opened"),
        (sqlite3.OperationalError("disk I/O error"), "disk failed"),
        (sqlite3.OperationalError("near FROM: a prompt"), "refused"),
        (RefusedError("28P01"), "user name or the password"),
        (RefusedError("3D000"), "no database of that name"),
        (RefusedError("53100"), "no room"),
        (RefusedError("57P03"), "starting or shutting down"),
        (RefusedError("55P03"), "another program"),
        (RefusedError("22021"), "does not accept"),
        (RefusedError("XX000"), "refused"),
        (ConnectionRefusedError(), "cannot be reached"),
        (asyncio.TimeoutError(), "in time"),
        (PoolTimeout(), "in time"),
        (OverflowError(), "does not accept"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "a prompt"), "does not accept"),
    ],
)
def test_each_failure_has_its_words(fault: BaseException, words: str) -> None:
    """Bare and wrapped alike, and never in the driver's own, which may repeat what was to be stored."""
    for one in (fault, wrapped(fault)):
        assert words in reason(one)
        assert is_of_the_database(one)
        assert "prompt" not in reason(one) + code(one)


def test_a_bug_is_not_the_databases() -> None:
    """What our own code does wrong is not blamed on anybody."""
    assert not any(is_of_the_database(fault) for fault in (TypeError(), KeyError(), ValueError("captions"), asyncio.CancelledError()))


def test_who_knows_whether_it_was_done() -> None:
    """A server that went away may have done the last thing; one that refused did not."""
    assert lost_connection(wrapped(ConnectionResetError()))
    assert lost_connection(OperationalError("", {}, RefusedError("57P01"), connection_invalidated=True))
    assert lost_connection(asyncio.TimeoutError())
    assert not lost_connection(wrapped(RefusedError("23505")))
    assert not lost_connection(wrapped(sqlite3.OperationalError("database is locked")))


def test_codes_for_logs() -> None:
    """The server's code where there is one, else the name of the exception."""
    assert code(wrapped(RefusedError("23505"))) == "23505"
    assert code(ConnectionRefusedError()) == "ConnectionRefusedError"
