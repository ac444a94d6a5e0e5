"""One process for one SQLite file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from discordplex.errors import StoreError
from discordplex.store import filelock
from discordplex.store.filelock import SecondProcessError, alone, lock_path
from discordplex.store.store import open_store

HOLD = """
import asyncio, sys
from discordplex.store.store import open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        await store.people.opt_out(1)
        print("open", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("volatile", [False, True])
async def test_a_second_process_is_refused(tmp_path: Path, *, volatile: bool) -> None:
    """In a sentence that says what to do, and not by going on in memory; when the first one is killed, the next may have the file."""
    url = f"sqlite:///{tmp_path}/settings.db"
    with subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE) as first:  # noqa: ASYNC220, S603 - ourselves
        assert first.stdout
        assert first.stdout.readline() == b"open\n"
        with pytest.raises(SecondProcessError, match=r"^Another discordplex uses the settings file: .* PostgreSQL\.$") as caught:
            async with open_store(url, volatile=volatile):
                pass
        assert f"the settings file {tmp_path}/settings.db: " in caught.value.full
        first.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        first.wait()
    async with open_store(url) as store:
        assert await store.people.opted_out() == {1}


async def test_the_same_process_may_open_it_again(tmp_path: Path) -> None:
    """Once it has let go of it, also after a failure."""
    url = f"sqlite:///{tmp_path}/settings.db"
    for _ in range(2):
        with pytest.raises(KeyError):
            async with open_store(url):
                raise KeyError
    (tmp_path / "settings.db").write_bytes(b"RIFF" + bytes(1000))
    for _ in range(2):
        with pytest.raises(StoreError, match="damaged"):
            async with open_store(url):
                pass


@pytest.mark.parametrize("fault", [OSError(38, "Function not implemented"), OSError(37, "No locks available")])
def test_a_file_system_without_locks_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError) -> None:
    """As some network file systems are."""

    def lock(_file: int) -> None:
        raise fault

    monkeypatch.setattr(filelock, "lock", lock)
    with alone(tmp_path / "settings.db"):
        pass


def test_a_folder_that_takes_no_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only one: nobody can write there anyway."""

    def refuse(*_args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with alone(tmp_path / "settings.db"):
        pass
    assert not lock_path(tmp_path / "settings.db").exists()


def modes_in(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
async def test_every_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The database, its journal, the shared memory and the lock, whatever the umask is."""
    before = os.umask(0)
    try:
        async with open_store(f"sqlite:///{tmp_path}/settings.db") as store:
            await store.people.opt_out(1)
            modes = modes_in(tmp_path)
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("settings.db", "settings.db-wal", "settings.db-shm", "settings.db.lock"), 0o600)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
async def test_an_older_file_that_all_could_read_is_closed_to_others(tmp_path: Path) -> None:
    """Its owner's group, which may have been given the file on purpose, keeps what it had."""
    file = tmp_path / "settings.db"
    async with open_store(f"sqlite:///{file}"):
        pass
    file.chmod(0o644)
    async with open_store(f"sqlite:///{file}") as store:
        await store.people.opt_out(1)
        assert set(modes_in(tmp_path).values()) == {0o640, 0o600}
