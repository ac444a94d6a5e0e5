"""`python -m benchmarks.cluster_rows`: how long a beat of a large cluster keeps the others from theirs.

200 shards, 20 processes, 100 engine slots and 500 waiting channels on a PostgreSQL server of this machine (Linux only). "database" is how
long the server process worked for the beat, whatever else the machine does. "beat" is the whole transaction, from the request for the lock
to the commit, with the disk, this process and everybody else.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from discordplex.clock import SystemClock
from discordplex.cluster.cluster import Cluster
from discordplex.cluster.rows import Rows, Transaction
from discordplex.queue_order import WaitingChannel
from discordplex.store import address
from discordplex.store.store import open_store
from tests.store.conftest import OWNER, postgresql_programs, run

SHARDS, PROCESSES, SLOTS, WAITING = 200, 20, 100, 500
ROUNDS = 30


@dataclass(frozen=True, slots=True)
class BeatTime:
    """How long one beat took, in ms."""

    whole: float
    database: float


class TimedRows(Rows):
    """Rows that note how long each transaction took, with the wait for the lock."""

    times: list[BeatTime]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Time it."""
        connection = await self._connected()
        server = Path(f"/proc/{connection.get_server_pid()}/schedstat")
        begun, worked = time.perf_counter(), ran_ms(server)
        async with super().transaction() as transaction:
            yield transaction
        self.times.append(BeatTime((time.perf_counter() - begun) * 1000, ran_ms(server) - worked))


def ran_ms(schedstat: Path) -> float:
    """For how long the server process of a connection has had a processor."""
    return int(schedstat.read_text(encoding="ascii").split()[0]) / 1e6


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server that ends with the block. Without `fsync = off`: a commit waits for the disk, as in earnest."""
    programs = postgresql_programs()
    if programs is None:
        raise SystemExit("no PostgreSQL server at hand (Debian: apt install postgresql)")
    with tempfile.TemporaryDirectory(prefix="discordplex-pg-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        control: list[Path | str] = [programs / "pg_ctl", "-D", folder / "data", "-s", "-w"]
        run(folder, programs / "initdb", "-D", folder / "data", "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-instructions")
        run(folder, *control, "-o", f"-k {folder} -c listen_addresses= -c max_connections=60", "-l", folder / "log", "start")
        try:
            yield f"postgresql://{OWNER}@/postgres?host={folder}"
        finally:
            run(folder, *control, "-m", "immediate", "stop")


async def measured(url: str) -> dict[str, list[BeatTime]]:
    """The times of some kinds of beats. Only one process beats at a time."""
    async with open_store(url):
        pass
    times: list[BeatTime] = []

    def rows(heard: Callable[[str], None]) -> Rows:
        made = TimedRows(address.parse(url), heard, timeout_s=5.0)
        made.times = times
        return made

    async def beats(*members: Cluster) -> list[BeatTime]:
        times.clear()
        for member in members:
            await member._transact()  # noqa: SLF001 -- a beat without the wait for the next one
        return [*times]

    slots = [f"personaplex:{number}" for number in range(SLOTS)]
    members = [Cluster(rows, clock=SystemClock(), name=f"host:{number}") for number in range(PROCESSES)]
    found: dict[str, list[BeatTime]] = {}
    async with AsyncExitStack() as stack:
        for member in members:
            member.slots.declare(slots)
            stack.push_async_callback(member.leave)
        first, second = members[:2]
        first._shard_count = SHARDS  # noqa: SLF001 -- likewise
        found[f"the first process claims {SHARDS} shards"] = await beats(first)
        await beats(*members)
        for number, member in enumerate(members):
            guilds = range(number + 1, WAITING + 1, PROCESSES)
            member.queue.publish([WaitingChannel(guild, guild, guild, guild, kinds=("personaplex",)) for guild in guilds], [])
        found[f"{WAITING // PROCESSES} channels begin to wait"] = await beats(*members)
        found["nothing has changed"] = await beats(*[second] * ROUNDS)
        joins: list[BeatTime] = []
        for guild in range(1000, 1000 + ROUNDS):
            first.queue.publish([WaitingChannel(guild, guild, guild, guild, kinds=("personaplex",))], [])
            joins += await beats(first)
        found["somebody joins the queue, another leaves"] = joins
        found["shards move to those that joined"] = await beats(*members * (ROUNDS // 5))
    return found


def main() -> None:
    """Print a table."""
    with server() as url:
        found = asyncio.run(measured(url))
    print(f"{'a beat in which':44}{'database: median':>18}{'worst':>8}{'beat: median':>16}{'worst':>8}  ms")
    for what, times in found.items():
        database, whole = [one.database for one in times], [one.whole for one in times]
        print(f"{what:44}{statistics.median(database):18.1f}{max(database):8.1f}{statistics.median(whole):16.1f}{max(whole):8.1f}")


if __name__ == "__main__":
    main()
