"""Who is not to be heard, read from an SQLite file that cannot be opened the usual way: locked, full, read-only, of another schema."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

WAIT_S = 0.5

QUERY = "SELECT user_id FROM people WHERE opted_out"
"""Every schema has these."""


async def opted_out(path: Path) -> frozenset[int] | None:
    """They, None where the file does not tell. Nothing in it is changed."""
    return await asyncio.get_running_loop().run_in_executor(None, read, path)


def read(path: Path) -> frozenset[int] | None:
    """The same. Blocks."""
    if not path.is_file():
        return None
    for way in ways(path):
        try:
            with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{way}", uri=True, timeout=WAIT_S)) as connection:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # needs no shared memory, for which a full disk has no room
                return frozenset(int(row[0]) for row in connection.execute(QUERY))
        except sqlite3.OperationalError:
            continue  # it cannot be opened in this way
        except sqlite3.DatabaseError:
            return None  # damaged
    return None


def ways(path: Path) -> list[str]:
    """How to open it, the gentlest way first. The second would not see what is in the journal; the third may write it back."""
    journal = path.with_name(f"{path.name}-wal")
    empty = not journal.exists() or journal.stat().st_size == 0
    return ["mode=ro", "mode=ro&immutable=1" if empty else "mode=rw"]
