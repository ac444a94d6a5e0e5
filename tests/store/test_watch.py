"""Several processes on one PostgreSQL database, directly and behind a pooler in transaction mode."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.config import Config
from discordplex.loopback import timeouts
from discordplex.store.records import Owner
from discordplex.store.store import open_store
from tests.bot.fakes import CountedEngines
from tests.store.conftest import OWNER, as_nobody

pytestmark = pytest.mark.parametrize("make_url", ["postgresql"], indirect=True)

ANNA, BERT = 100, 200
LONG_S = 25.0
"""Who waits so long waits for ever."""

END_WITHIN_S = 5.0
"""What the command line promises for SIGTERM."""

LISTENERS = "FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"


@contextlib.asynccontextmanager
async def process(url: str) -> AsyncIterator[StoredPreferences]:
    """As much of a bot as keeps preferences."""
    async with open_store(url) as store, StoredPreferences(config=Config(), provider=CountedEngines(), store=store) as preferences:
        await preferences.load()
        yield preferences


async def until(true: Callable[[], bool]) -> None:
    """Wait for another process's word, which comes by a socket and in real time."""
    with anyio.fail_after(LONG_S * timeouts.FACTOR):
        while not true():  # noqa: ASYNC110 - nothing of this process happens
            await asyncio.sleep(0.01)


async def listening(sql: Callable[[], Any], number: int) -> None:
    """Wait until so many processes listen."""
    with anyio.fail_after(LONG_S * timeouts.FACTOR):
        async with sql() as other:
            while await other(f"SELECT count(*) {LISTENERS}") != [(number,)]:
                await other.commit()
                await asyncio.sleep(0.01)


async def test_a_wish_in_one_process_holds_in_the_other(url: str, sql: Callable[[], Any]) -> None:
    """Being silenced and being heard again; the calls are told, and the others' wishes stay."""
    async with process(url) as one, process(url) as other:
        await listening(sql, 2)
        told: list[frozenset[int]] = []
        other.changed = lambda: told.append(other.opted_out)
        await one.silence(ANNA)
        await until(lambda: other.opted_out == {ANNA})
        await other.silence(BERT)
        await until(lambda: one.opted_out == {ANNA, BERT})
        await one.listen(ANNA)
        await until(lambda: other.opted_out == {BERT})
        assert told == [{ANNA}, {ANNA, BERT}, {BERT}]


async def test_a_lost_connection_is_made_again_and_what_was_missed_is_read(url: str, sql: Callable[[], Any]) -> None:
    """As when the server is restarted."""
    async with process(url) as other:
        await listening(sql, 1)
        async with sql() as admin:
            await admin("INSERT INTO people (user_id, opted_out) VALUES (100, true)")
            await admin(f"SELECT pg_terminate_backend(pid) {LISTENERS}")
            await admin.commit()
        await until(lambda: other.opted_out == {ANNA})
        await listening(sql, 1)
        async with process(url) as one:
            await one.silence(BERT)
            await until(lambda: other.opted_out == {ANNA, BERT})


async def test_a_person_who_is_forgotten_is_so_everywhere(url: str, sql: Callable[[], Any]) -> None:
    """What the other process holds of theirs in memory is dropped."""
    async with process(url) as one, process(url) as other:
        await listening(sql, 2)
        forgotten: list[Owner] = []
        other.forgetting.add(lambda owner, _: forgotten.append(owner))
        await one.change_person(ANNA, lambda now: replace(now, choice=replace(now.choice, voice="NATM1.pt")))
        assert (await other.person(ANNA)).choice.voice == "NATM1.pt"
        await one.forget(ANNA)
        await until(lambda: forgotten == [Owner("person", ANNA)])
        assert (await other.person(ANNA)).choice.voice is None


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a system that can stop a process")
async def test_a_server_that_stands_still_does_not_keep_a_process_from_ending(
    url: str, sql: Callable[[], Any], cluster: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a listening connection, one in the pool and a wish that is not saved: within what is promised for the whole process."""
    backends = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    frozen: list[int] = []
    running = contextlib.AsyncExitStack()
    try:
        one = await running.enter_async_context(process(url))
        await listening(sql, 1)
        async with sql() as other:
            frozen += [int(str(row[0])) for row in await other(backends)]
        frozen.append(int((cluster / "data" / "postmaster.pid").read_text().split()[0]))
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        one.silence(ANNA)
        await timeouts.wait_for(running.aclose(), END_WITHIN_S)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert len(frozen) > 2
    assert one.opted_out == {ANNA}
    assert not [record for record in caplog.records if record.exc_info]


@pytest.fixture
def pooler(cluster: Path) -> Iterator[str]:
    """The URL of a pgbouncer in transaction mode, with two server connections, in front of our own server."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        pytest.skip("no pgbouncer at hand (Debian: apt install pgbouncer)")
    settings = cluster / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\npostgres = host={cluster} dbname=postgres user={OWNER}\n"
        f"[pgbouncer]\nunix_socket_dir = {cluster}\nlisten_port = 6432\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nserver_idle_timeout = 60\n"
    )
    running = subprocess.Popen([program, "-q", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_nobody())  # type: ignore[call-overload]  # noqa: S603 - our own words
    yield f"postgresql://{OWNER}@/postgres?host={cluster}&port=6432"
    running.kill()
    running.wait()
    (cluster / ".s.PGSQL.6432").unlink(missing_ok=True)


@pytest.fixture
async def pooled(url: str, pooler: str, cluster: Path) -> str:
    """It accepts connections, and the database has no tables yet."""
    del url
    socket = cluster / ".s.PGSQL.6432"
    with anyio.fail_after(LONG_S * timeouts.FACTOR):
        while not socket.exists():  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
    return pooler


async def test_a_pooler_in_transaction_mode_is_like_the_server_itself(pooled: str) -> None:
    """Whichever server connection a transaction gets, at the first start and at every later one, many at once."""
    for start in range(3):
        async with open_store(pooled) as one, open_store(pooled) as other:
            stores = (one, other)
            await asyncio.gather(*(stores[n % 2].people.opt_out(start * 100 + n) for n in range(30)))
            await asyncio.gather(*(stores[n % 2].guilds.change(n, lambda now: replace(now, transcripts=True)) for n in range(20)))
            assert await one.people.opted_out() >= {start * 100 + n for n in range(30)}


async def test_behind_a_pooler_wishes_are_asked_for(pooled: str) -> None:
    """No notification comes through it; the other process learns of a wish all the same."""
    async with process(pooled) as one, process(pooled) as other:
        await one.silence(ANNA)
        await until(lambda: other.opted_out == {ANNA})
        await one.listen(ANNA)
        await until(lambda: other.opted_out == frozenset())
