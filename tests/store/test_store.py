"""Opening the store: what it costs, and what it does where the database is not as it should be."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from discordplex.errors import ConfigError, StoreError
from discordplex.store.store import open_store

IMPORT_BUDGET_MIB = 25


async def test_a_store_of_its_own_file(url: str) -> None:
    """It is not volatile and has no problem."""
    async with open_store(url, volatile=True) as store:
        assert (store.volatile, store.problem) == (False, None)


async def test_a_store_in_memory_on_request() -> None:
    """It works like any other, says that it is volatile, and forgets."""
    for _ in "first", "second":
        async with open_store("sqlite://") as store:
            assert (store.volatile, store.problem) == (True, None)
            assert await store.people.opted_out() == frozenset()
            await store.people.opt_out(1)
            assert await store.people.opted_out() == {1}


def damaged(file: Path, how: str) -> None:
    """Spoil a database with settings in it."""
    content = bytearray(file.read_bytes())
    if how == "another file":
        content[:] = b"RIFF" + bytes(1000)
    elif how == "noise inside":
        content[4096:] = b"\xa5" * (len(content) - 4096)
    elif how == "cut off":
        del content[len(content) // 2 :]
    file.write_bytes(content)


@pytest.mark.parametrize("how", ["another file", "noise inside", "cut off"])
async def test_a_damaged_file(tmp_path: Path, how: str) -> None:
    """It is refused in a sentence that names it, and left as it is; on request, a store is given all the same and says so."""
    file = tmp_path / "settings.db"
    url = f"sqlite:///{file}"
    async with open_store(url) as store:
        await store.people.opt_out(1)
    damaged(file, how)
    before = file.read_bytes()
    with pytest.raises(StoreError, match=r"^The settings cannot be used: .*damaged.*\.$") as caught:
        async with open_store(url):
            pass
    assert caught.value.full.endswith(f" The database is {file}.")
    async with open_store(url, volatile=True) as store:
        assert store.volatile
        assert store.problem
        assert store.problem.startswith("The settings cannot be used: ")
        assert str(tmp_path) not in store.problem, "people read it"
        assert store.problem.endswith("settings are kept in memory only.")
        with pytest.raises(StoreError, match="cannot be used"):
            await store.people.opt_out(2)
    assert file.read_bytes() == before


async def test_a_file_that_may_only_be_read(tmp_path: Path) -> None:
    """It is told at the start, not at the first change."""
    async with open_store(f"sqlite:///{tmp_path}/settings.db"):
        pass
    with pytest.raises(StoreError, match="is read-only"):
        async with open_store(f"sqlite:///file:{tmp_path}/settings.db?mode=ro&uri=true"):
            pass


@pytest.mark.parametrize("make_url", ["sqlite"], indirect=True)
async def test_a_file_that_somebody_else_has_locked(url: str, sql: Callable[[], Any]) -> None:
    """A second program that uses the file is told at the start, in bounded time."""
    async with open_store(url):
        pass
    async with sql() as other:
        await other.lock()
        with pytest.raises(StoreError, match="another program is using the database"):
            async with open_store(url, busy_s=0.1):
                pass
        async with open_store(url, busy_s=0.1, volatile=True) as store:
            assert store.volatile


async def test_a_missing_folder(tmp_path: Path) -> None:
    """A sentence; and with the fallback a store all the same."""
    url = f"sqlite:///{tmp_path}/missing/settings.db"
    with pytest.raises(StoreError, match=r"does not exist\. The bot's operator"):
        async with open_store(url):
            pass
    with capture_logs() as lines:
        async with open_store(url, volatile=True) as store:
            assert store.volatile
            with pytest.raises(StoreError) as caught:
                await store.people.opt_out(2)
            people = (str(caught.value), caught.value.why, store.problem or "")
    assert any(str(tmp_path) in line.get("cause", "") for line in lines), "the operator reads where"
    assert not any(str(tmp_path) in sentence for sentence in people)
    assert not (tmp_path / "missing").exists()


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """A sentence that names the database and not the password."""
    with pytest.raises(StoreError, match=r"^The settings cannot be used: the database server cannot be reached\.$") as caught:
        async with open_store("postgresql://me:secret@127.0.0.1:1/bot"):
            pass
    assert caught.value.full == f"{caught.value} The database is bot on 127.0.0.1."
    with pytest.raises(StoreError, match="cannot be reached"):
        async with open_store(f"postgresql://me:secret@/bot?host={tmp_path}"):
            pass


async def test_a_server_that_says_nothing() -> None:
    """Something that accepts connections and never answers is given up, in bounded time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StoreError, match=r"cannot be used: the database did not answer in time\.$"):
            async with open_store(f"postgresql://me@127.0.0.1:{port}/bot", busy_s=0.2):
                pass


@pytest.mark.parametrize("make_url", ["postgresql"], indirect=True)
async def test_a_server_that_refuses_us(url: str) -> None:
    """A database that is not there, a user that is none, an option that nobody knows."""
    for wrong, why in (
        (url.replace("/postgres?", "/another?"), "no database of that name"),
        (url.replace("discordplex@", "nobody@"), "refuses the user name or the password"),
    ):
        with pytest.raises(StoreError, match=why):
            async with open_store(wrong):
                pass


async def test_a_wrong_url_has_no_fallback() -> None:
    """A mistake in the configuration is for its author to mend, with or without the fallback."""
    with pytest.raises(ConfigError):
        async with open_store("mysql://host/database", volatile=True):
            pass


async def test_what_happens_inside_is_not_the_stores(url: str) -> None:
    """An error of the block passes through as it is, and the store closes."""
    with pytest.raises(KeyError):
        async with open_store(url, volatile=True):
            raise KeyError


PROGRAM = """
import asyncio, sys
import aiohttp, anyio, structlog, discordplex.config  # what every running bot has anyway

def resident_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

before = resident_mib()
from discordplex.store.store import open_store
imported = resident_mib() - before

async def main():
    async with open_store(sys.argv[1]) as store:
        await store.people.opt_out(1)

asyncio.run(main())
print(imported, *(name for name in ("alembic", "mako", "asyncpg", "discord") if name in sys.modules))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a system that tells a process its size")
def test_what_the_store_costs(tmp_path: Path) -> None:
    """Under 25 MiB; Alembic is loaded neither for a new database nor for one that is up to date."""

    def start() -> tuple[float, list[str]]:
        command = [sys.executable, "-c", PROGRAM, f"sqlite:///{tmp_path}/settings.db"]
        cost, *loaded = subprocess.run(command, check=True, capture_output=True, text=True, timeout=50).stdout.split()  # noqa: S603 - ourselves
        return float(cost), loaded

    for _ in "new", "up to date":
        cost_mib, loaded = start()
        assert loaded == []
        assert cost_mib < IMPORT_BUDGET_MIB


async def test_whether_the_database_answers_is_known_without_a_word_in_the_log(tmp_path: Path) -> None:
    """In memory there is nothing to lose; a file that is deleted is away."""
    async with open_store("sqlite://") as store:
        assert await store.state() == "memory only"
    file = tmp_path / "settings.db"
    async with open_store(f"sqlite+aiosqlite:///{file}") as store:
        assert await store.state() == "ok"
        file.unlink()
        with capture_logs() as lines:
            assert await store.state() == "away"
        assert lines == []
    assert await store.state() == "away", "it is closed"
