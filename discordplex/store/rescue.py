"""Reads who must not be heard from an SQLite file that cannot be opened in the usual way: locked, full, read-only, or of another schema."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

WAIT_S = 0.5

QUERY = "SELECT user_id FROM people WHERE opted_out"
"""Works with every schema."""


async def opted_out(path: Path) -> frozenset[int] | None:
    """Everybody who must not be heard; None if the file cannot be read. The file is not changed."""
    return await asyncio.get_running_loop().run_in_executor(None, read, path)


def read(path: Path) -> frozenset[int] | None:
    """The same. Blocks the thread."""
    if not path.is_file():
        return None
    for way in ways(path):
        try:
            with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{way}", uri=True, timeout=WAIT_S)) as connection:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # needs no shared memory file, which a full disk has no room for
                return frozenset(int(row[0]) for row in connection.execute(QUERY))
        except sqlite3.OperationalError:
            continue  # it cannot be opened like this
        except sqlite3.DatabaseError:
            return None  # damaged
    return None


def ways(path: Path) -> list[str]:
    """URIs to open the file with, in the order to try. The second ignores the journal; the third may write the journal back."""
    journal = path.with_name(f"{path.name}-wal")
    empty = not journal.exists() or journal.stat().st_size == 0
    return ["mode=ro", "mode=ro&immutable=1" if empty else "mode=rw"]
