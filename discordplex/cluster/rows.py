"""The rows of a cluster in PostgreSQL, read and written in one short transaction at a time."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from discordplex.cluster.snapshot import MemberRow, ShardRow, SlotRow, Snapshot, WishRow
from discordplex.store import schema
from discordplex.store.address import Address
from discordplex.store.backends import connect_directly, open_backend
from discordplex.store.database import BUSY_S, Database
from discordplex.store.reasons import code

CHANNEL = "discordplex_cluster"
"""The channel of NOTIFY. A message names those who shall look at the rows at once: members, separated by blanks, or everybody."""

EVERYBODY = "*"

LOCK = 0x64_70_6C_78
"""The key of the advisory lock under which rows are read and written."""

BEGIN = f"""
BEGIN;
SET LOCAL statement_timeout = 1500;
SET LOCAL idle_in_transaction_session_timeout = 1000;
SELECT pg_advisory_xact_lock({LOCK});
"""
"""The server ends the session of a process that stops in the middle of it: the others wait for its lock."""

NO_TABLE, NO_COLUMN = "42P01", "42703"


@dataclass(frozen=True, slots=True)
class FactRow:
    """Something that all processes know."""

    fact: str
    value: str


@dataclass(frozen=True, slots=True)
class RowTable:
    """How the rows of one kind are written."""

    name: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def all(self) -> str:
        """Every row as an array of the columns that this version knows."""
        return f"(SELECT json_agg(json_build_array({', '.join(self.columns)})) FROM {self.name})"  # noqa: S608 - names of ours

    @property
    def upsert(self) -> str:
        """Insert or update the rows that are given as JSON. Columns that this version does not know keep their values."""
        columns = ", ".join(self.columns)
        changes = ", ".join(f"{column} = EXCLUDED.{column}" for column in self.columns if column not in self.keys)
        rows = f"SELECT {columns} FROM json_populate_recordset(NULL::{self.name}, $1::json)"  # noqa: S608 - names of ours
        return f"INSERT INTO {self.name} ({columns}) {rows} ON CONFLICT ({', '.join(self.keys)}) DO UPDATE SET {changes}"

    @property
    def delete(self) -> str:
        """Delete the rows whose keys are given as JSON."""
        same = " AND ".join(f"{self.name}.{key} = gone.{key}" for key in self.keys)
        return f"DELETE FROM {self.name} USING json_populate_recordset(NULL::{self.name}, $1::json) AS gone WHERE {same}"  # noqa: S608 - names of ours


MEMBERS = RowTable("cluster_members", ("member",), tuple(MemberRow.__dataclass_fields__))
SHARDS = RowTable("cluster_shards", ("shard",), tuple(ShardRow.__dataclass_fields__))
SLOTS = RowTable("cluster_slots", ("slot",), tuple(SlotRow.__dataclass_fields__))
WISHES = RowTable("cluster_wishes", ("holder", "guild_id", "channel_id", "purpose"), tuple(WishRow.__dataclass_fields__))
FACTS = RowTable("cluster_facts", ("fact",), tuple(FactRow.__dataclass_fields__))


READ = f"""
SELECT json_build_object(
    'now', extract(epoch FROM clock_timestamp())::float8,
    'up_since', extract(epoch FROM pg_postmaster_start_time())::float8,
    'members', {MEMBERS.all},
    'shards', {SHARDS.all},
    'slots', {SLOTS.all},
    'wishes', {WISHES.all},
    'facts', {FACTS.all}
)::text
"""  # noqa: S608 - names of ours
"""One statement, after the lock: it sees what the last holder of the lock has committed."""


class Rows:
    """One connection that reads, writes and listens. Thread: loop. What it raises is of the database (`store.reasons`)."""

    def __init__(self, address: Address, heard: Callable[[str], None], *, timeout_s: float) -> None:
        """`heard` is called with each message of another process. Opening the connection may take `timeout_s`."""
        self._address = address
        self._heard = heard
        self._timeout_s = timeout_s
        self._connection: Any = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """Hold the cluster's lock, with the rows as they are. They are written at the end of the block; after an exception, not."""
        connection = await self._connected()
        try:
            await connection.execute(BEGIN)
            transaction = Transaction(connection, parsed(await connection.fetchval(READ)))
            yield transaction
            await connection.execute("COMMIT")
        except BaseException as fault:
            self.drop()
            if code(fault) in (NO_TABLE, NO_COLUMN):
                await self._make_tables()
            raise

    async def read(self) -> Snapshot:
        """The rows as they are, without the lock."""
        connection = await self._connected()
        async with connection.transaction():  # a pooler may give each of its two round trips to another server process otherwise
            return parsed(await connection.fetchval(READ))

    def drop(self) -> None:
        """Close the connection without a word; the next transaction opens another one."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection; takes a limited time."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it may be lost already
                await connection.close()

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            connection = await connect_directly(self._address.url, self._timeout_s)
            try:
                await connection.add_listener(CHANNEL, self._said)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    def _said(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        self._heard(payload)

    async def _make_tables(self) -> None:
        """Bring the schema up to date: this database may not be the one of `store.url`."""
        database = Database(open_backend(self._address, BUSY_S))
        try:
            await schema.bring_up_to_date(database, self._address.shown)
        finally:
            await database.close()


class Transaction:
    """The rows under the lock."""

    def __init__(self, connection: Any, snapshot: Snapshot) -> None:
        self._connection = connection
        self.snapshot = snapshot

    async def write(self, after: Snapshot) -> None:
        """Write what differs from `snapshot`."""
        before = self.snapshot
        await self._write(MEMBERS, before.members, after.members)
        await self._write(SHARDS, before.shards, after.shards)
        await self._write(SLOTS, before.slots, after.slots)
        await self._write(WISHES, before.wishes, after.wishes)
        await self._write(FACTS, facts(before), facts(after))

    async def notify(self, payload: str) -> None:
        """Send a message at the end of the transaction."""
        await self._connection.execute(f"SELECT pg_notify('{CHANNEL}', $1)", payload)

    async def _write(self, table: RowTable, before: Mapping[Any, Any], after: Mapping[Any, Any]) -> None:
        changed = [row for key, row in after.items() if before.get(key) != row]
        gone = [row for key, row in before.items() if key not in after]
        if gone:
            await self._connection.execute(table.delete, as_json(gone))
        if changed:
            await self._connection.execute(table.upsert, as_json(changed))


def facts(snapshot: Snapshot) -> dict[str, FactRow]:
    """The facts as rows."""
    return {fact: FactRow(fact, value) for fact, value in snapshot.facts.items()}


def as_json(rows: Iterable[Any]) -> str:
    """Rows as their tables take them: several words are lines of one text."""
    return json.dumps([{name: "\n".join(one) if isinstance(one, tuple) else one for name, one in asdict(row).items()} for row in rows])


def parsed(text: str) -> Snapshot:
    """All rows."""
    found: dict[str, Any] = json.loads(text)
    members = [MemberRow(*one) for one in with_words(found["members"], MEMBERS.columns.index("slots"))]
    shards = [ShardRow(*one) for one in found["shards"] or ()]
    slots = [SlotRow(*one) for one in found["slots"] or ()]
    wishes = [WishRow(*one) for one in with_words(found["wishes"], WISHES.columns.index("kinds"))]
    return Snapshot(
        now=found["now"],
        up_since=found["up_since"],
        members={row.member: row for row in members},
        shards={row.shard: row for row in shards},
        slots={row.slot: row for row in slots},
        wishes={row.key: row for row in wishes},
        facts=dict(found["facts"] or ()),
    )


def with_words(rows: list[list[Any]] | None, column: int) -> list[list[Any]]:
    """The rows, with the lines of a text in one column as a tuple. Most texts are the same: it is split once."""
    split: dict[str, tuple[str, ...]] = {"": ()}
    for row in rows or ():
        text = row[column]
        if text not in split:
            split[text] = tuple(text.split("\n"))
        row[column] = split[text]
    return rows or []
