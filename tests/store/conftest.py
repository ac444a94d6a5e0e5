"""Both databases: a file of SQLite, and a private PostgreSQL server where its programs are at hand."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Protocol

import anyio
import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from typing_extensions import Self

from discordplex.loopback import timeouts
from discordplex.store.store import Store, open_store

OWNER = "discordplex"
numbers = count(1)


def postgresql_programs() -> Path | None:
    """Where the server's programs are: on the path, or where Debian hides them, the newest first."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name), reverse=True)
    return next((place for place in places if all((place / name).exists() for name in ("initdb", "pg_ctl", "psql"))), None)


def as_nobody() -> dict[str, str]:
    """How `subprocess` runs a program that refuses to be root."""
    return {"user": "nobody"} if hasattr(os, "geteuid") and os.geteuid() == 0 else {}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """A PostgreSQL server of our own that listens on a socket in this folder."""
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server at hand (Debian: apt install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="discordplex-pg-"))  # not tmp_path: pytest's folders are closed to `nobody`
    if as_nobody():
        shutil.chown(folder, **as_nobody())
    run(folder, programs / "initdb", "-D", folder / "data", "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions")
    try:
        start(folder)
        yield folder
    finally:
        stop(folder)
        shutil.rmtree(folder)


def start(folder: Path) -> None:
    """Start the server of this folder."""
    control(folder, "-o", f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=50", "-l", folder / "log", "start")


def stop(folder: Path) -> None:
    """Stop it at once, as if its machine failed."""
    control(folder, "-m", "immediate", "stop")


def control(folder: Path, *words: Path | str) -> None:
    run(folder, (postgresql_programs() or Path()) / "pg_ctl", "-D", folder / "data", "-s", "-w", *words)


def run(folder: Path, *command: Path | str) -> None:
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.run(command, cwd=folder, check=True, timeout=50, **quiet, **as_nobody())  # type: ignore[call-overload]  # noqa: S603 - a name or nothing for `user`; our own words


class MakeUrl(Protocol):
    """Gives URLs of databases that nobody else uses, the last one not any more either."""

    def __call__(self, *, current: bool = False) -> str:
        """One without tables, or with today's and nothing in them."""
        ...


@pytest.fixture(params=["sqlite", "postgresql"])
def make_url(request: pytest.FixtureRequest) -> MakeUrl:
    """Both kinds of databases, or the one that a test asks for with `indirect`."""
    made: MakeUrl = request.getfixturevalue(f"make_{request.param}_url")
    return made


@pytest.fixture(scope="session")
def make_sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> MakeUrl:
    """Files; migrating takes six times as long as copying one."""
    folder = tmp_path_factory.mktemp("sqlite")
    migrate(f"sqlite:///{folder}/current.db")

    def make(*, current: bool = False) -> str:
        file = folder / f"{next(numbers)}.db"
        if current:
            shutil.copy(folder / "current.db", file)
        return f"sqlite:///{file}"

    return make


@pytest.fixture(scope="session")
def make_postgresql_url(cluster: Path) -> MakeUrl:
    """The one database of our own server, emptied: making another takes 0.3 s."""
    psql = (postgresql_programs() or Path()) / "psql"
    url = URL.create("postgresql", username=OWNER, database="postgres", query={"host": str(cluster)}).render_as_string()

    def make(*, current: bool = False) -> str:
        del current  # migrating is fast enough
        run(
            cluster,
            psql,
            "-q",
            "-h",
            cluster,
            "-U",
            OWNER,
            "-d",
            "postgres",
            "-c",
            "DROP SCHEMA public CASCADE",
            "-c",
            "CREATE SCHEMA public",
        )
        return url

    return make


def migrate(url: str) -> None:
    async def work() -> None:
        async with open_store(url):
            pass

    asyncio.run(work())


@pytest.fixture
def url(make_url: MakeUrl, request: pytest.FixtureRequest) -> str:
    """A database with nothing in it; without tables too, unless the test wants an open store anyway."""
    return make_url(current=not {"store", "hasty"}.isdisjoint(request.fixturenames))


class MakePooler(Protocol):
    """Puts a pgbouncer in front of our own server."""

    async def __call__(self, mode: str = "transaction", *, connections: int = 2) -> str:
        """The URL of the server's database through it, when it accepts connections."""
        ...


@pytest.fixture
def make_pooler(cluster: Path) -> Iterator[MakePooler]:
    """One at a time, in front of the server of `make_postgresql_url`; `pool_mode` is `mode`."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        pytest.skip("no pgbouncer at hand (Debian: apt install pgbouncer)")
    settings, socket = cluster / "pgbouncer.ini", cluster / ".s.PGSQL.6432"
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        quiet = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
        running.append(subprocess.Popen([program, "-q", settings], **quiet, **as_nobody()))  # type: ignore[call-overload]  # noqa: S603 - our own words

    async def make(mode: str = "transaction", *, connections: int = 2) -> str:
        settings.write_text(
            f"[databases]\npostgres = host={cluster} dbname=postgres user={OWNER}\n"
            f"[pgbouncer]\nunix_socket_dir = {cluster}\nlisten_port = 6432\nauth_type = any\n"
            f"pool_mode = {mode}\ndefault_pool_size = {connections}\nserver_idle_timeout = 60\n"
        )
        start()
        with anyio.fail_after(25.0 * timeouts.FACTOR):
            while not socket.exists():  # noqa: ASYNC110 - another program's
                await asyncio.sleep(0.01)
        return f"postgresql://{OWNER}@/postgres?host={cluster}&port=6432"

    yield make
    for one in running:
        one.kill()
        one.wait()
    socket.unlink(missing_ok=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An open store with nothing in it."""
    async with open_store(url) as opened:
        yield opened


@pytest.fixture
def sql(url: str) -> Callable[..., "Sql"]:
    """Another program's way into the same database."""
    return lambda: Sql(url)


class Sql:
    """A connection that is none of the store's: `async with sql() as other: await other("SELECT 1")`."""

    def __init__(self, url: str) -> None:
        drivers = {"sqlite:": "sqlite+aiosqlite:", "postgresql:": "postgresql+asyncpg:"}
        scheme = url.split("//", maxsplit=1)[0]
        self._engine = create_async_engine(url.replace(scheme, drivers[scheme], 1), poolclass=NullPool)
        self._connection = self._engine.connect()

    async def __aenter__(self) -> Self:
        await self._connection.start()
        return self

    async def __aexit__(self, *fault: object) -> None:
        await self._connection.close()
        await self._engine.dispose()

    async def __call__(self, statement: str) -> list[tuple[object, ...]]:
        result = await self._connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []

    async def commit(self) -> None:
        await self._connection.commit()

    async def lock(self) -> None:
        """Hold what everybody wants, until the end of `async with`."""
        if self._engine.dialect.name == "sqlite":
            await self("BEGIN EXCLUSIVE")
        else:
            await self("LOCK TABLE guilds, people, personas, queue, transcripts, unfinished_notices, usage IN ACCESS EXCLUSIVE MODE")
