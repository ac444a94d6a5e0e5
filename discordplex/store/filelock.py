"""One process per SQLite file: a lock on a file beside it. The lock ends with its process."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog

from discordplex.errors import StoreError
from discordplex.logs import kind_of

log = structlog.get_logger()


class SecondProcessError(StoreError):
    """Another process uses the file."""


def lock_path(path: Path) -> Path:
    """The file beside the database that is locked. The file stays when the process ends; only the lock counts."""
    return path.with_name(f"{path.name}.lock")


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only process that uses the SQLite file at `path`.

    Raises SecondProcessError if another process uses it. Without support for locks, as on read-only and some network file systems, there is
    no lock.
    """
    try:
        file = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as fault:
        log.info("settings file not locked", cause=kind_of(fault))
        yield
        return
    try:
        take(file, path)
        yield
    finally:
        os.close(file)  # this ends the lock


def take(file: int, path: Path) -> None:
    """Lock an open file without waiting."""
    try:
        lock(file)
    except (BlockingIOError, PermissionError):
        mend = "SQLite is for one process. Stop the other one, or give each a store.url of its own, or PostgreSQL."
        raise SecondProcessError(
            f"Another discordplex uses the settings file: {mend}",
            full=f"Another discordplex uses the settings file {path.absolute()}: {mend}",
        ) from None
    except OSError as fault:
        log.info("settings file not locked", cause=kind_of(fault))


if sys.platform == "win32":
    import msvcrt

    def lock(file: int) -> None:
        """Raises PermissionError if another process has the lock."""
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def lock(file: int) -> None:
        """Raises BlockingIOError if another process has the lock."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
