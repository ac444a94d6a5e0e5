"""Who is not to be heard is read from a database that cannot be written, or not be opened the usual way."""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from discordplex.errors import StoreError
from discordplex.store import rescue
from discordplex.store.store import open_store
from discordplex.store.tables import VERSION_TABLE
from tests.store.locks import locked

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX files and limits")

FILL = """
import asyncio, os, signal, sys
from discordplex.store.store import open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        await store.people.opt_out(1)
        await store.people.opt_out(2)
        os.kill(os.getpid(), signal.SIGKILL)  # what it wrote is in the journal, and the files beside it stay

asyncio.run(main())
"""

READ = """
import asyncio, resource, signal, sys
from discordplex.store.store import open_store

async def main():
    if sys.argv[2] == "full":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    async with open_store(sys.argv[1], volatile=True, busy_s=0.1) as store:
        out = sorted(await store.opted_out())
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(store.volatile, *out)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process that was killed left behind; two people have opted out."""
    folder = tmp_path_factory.mktemp("killed")
    process = subprocess.run([sys.executable, "-c", FILL, f"sqlite:///{folder}/settings.db"], check=False, timeout=50)  # noqa: S603 - ourselves
    assert process.returncode == -signal.SIGKILL
    return folder


@pytest.fixture
def file(killed: Path, tmp_path: Path) -> Path:
    """The database in it, in a folder of its own."""
    return Path(shutil.copytree(killed, tmp_path / "disk")) / "settings.db"


def emptied(file: Path) -> None:
    """Let the journal be written back, as after an orderly end."""
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextlib.contextmanager
def locked_without_wal(file: Path) -> Iterator[str]:
    """As another program may have left it: then a lock keeps readers out too."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        yield ""


@contextlib.contextmanager
def of_an_older_schema(file: Path) -> Iterator[str]:
    """Which cannot be migrated, since somebody has locked it."""
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute("ALTER TABLE guilds DROP COLUMN captions_of_people")
        other.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")  # noqa: S608 - a constant of ours
    with locked(file):
        yield ""


@contextlib.contextmanager
def of_a_newer_schema(file: Path) -> Iterator[str]:
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608 - a constant of ours
    yield ""


@contextlib.contextmanager
def read_only(file: Path) -> Iterator[str]:
    """A file and a folder in which we may not write."""
    emptied(file)
    for one in file.parent.iterdir():
        if one != file:
            one.unlink()
    file.chmod(0o444)
    file.parent.chmod(0o555)
    yield "unprivileged"
    file.parent.chmod(0o755)


@contextlib.contextmanager
def full(file: Path) -> Iterator[str]:
    """No byte can be written any more, after an orderly end."""
    emptied(file)
    yield "full"


@contextlib.contextmanager
def full_after_a_kill(file: Path) -> Iterator[str]:
    """What was written last is in the journal, and there is no room for what SQLite reads that with."""
    file.with_name("settings.db-shm").unlink()
    assert file.with_name("settings.db-wal").stat().st_size > 0
    yield "full"


def unprivileged() -> list[str]:
    """How a program is run for whom permissions count, which they do not for root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv, or a user who is not root")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


@pytest.mark.parametrize("state", [locked, locked_without_wal, of_an_older_schema, of_a_newer_schema, read_only, full, full_after_a_kill])
def test_who_opted_out_is_known(file: Path, state: Callable[[Path], AbstractContextManager[str]]) -> None:
    """Whatever keeps the database from being opened for writing."""
    with state(file) as how:
        if not how:
            assert asyncio.run(read(f"sqlite:///{file}")) == (True, {1, 2})
            return
        answer = subprocess.run(  # noqa: S603 - ourselves
            [*unprivileged(), sys.executable, "-c", READ, f"sqlite:///{file}", how],
            check=True,
            capture_output=True,
            text=True,
            timeout=50,
        ).stdout
    assert answer.splitlines()[-1].split() == ["True", "1", "2"]


async def read(url: str) -> tuple[bool, Collection[int]]:
    async with open_store(url, volatile=True, busy_s=0.1) as store:
        return store.volatile, await store.opted_out()


@pytest.mark.parametrize("content", [b"", b"RIFF" + bytes(5000), None])
async def test_what_cannot_be_read_is_not_guessed(tmp_path: Path, content: bytes | None) -> None:
    """Nothing where there is no such table, no database, or no file: then people are told that nobody knows."""
    file = tmp_path / "settings.db"
    if content is not None:
        file.write_bytes(content)
    assert await rescue.opted_out(file) is None


async def test_a_folder_that_is_not_there_is_not_known(tmp_path: Path) -> None:
    """The store raises."""
    async with open_store(f"sqlite:///{tmp_path}/missing/settings.db", volatile=True) as store:
        with pytest.raises(StoreError, match="Who is not to be heard was not read"):
            await store.opted_out()
