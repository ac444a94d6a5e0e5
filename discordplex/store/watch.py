"""Several processes on one PostgreSQL database: each tells the others when settings change or a person's data is deleted."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias, get_args

import structlog
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.clock import Clock
from discordplex.errors import StoreError
from discordplex.store.backends import connect_directly
from discordplex.store.database import Database
from discordplex.store.reasons import code, is_of_the_database

log = structlog.get_logger()

CHANNEL = "discordplex_people"
"""The channel of NOTIFY. A message is empty (an opt-out changed), `forget <id>` (a person), `person <id>` or `guild <id>` (their settings
changed), or the token that a listener sends to itself."""

MESSAGE = re.compile("(forget|person|guild) ([0-9]{1,20})")
TOKEN_CHARACTERS = 16

POLL_S = 1.5
"""How often everything is read again if notifications do not arrive, and how long a listener waits for its own message."""

CHECK_S = 15.0
"""How often a listening connection is tested, because a dead one does not report itself."""

RETRY_S = 1.0
"""The pause before a lost connection is opened again."""

FIRST_SILENT = 3
"""After so many it is logged."""

MOST_SILENT = 40
"""After this many tests without a message, the connection is opened again: it may be dead."""

CONNECT_S = 5.0


What: TypeAlias = Literal["people", "forget", "person", "guild"]

Heard: TypeAlias = Callable[[What, "int | None"], None]
"""Called with what has changed, and whose: `people` and None if any opt-out, and anybody's settings, may have."""


async def announce(connection: AsyncConnection, what: What, whose: int | None = None) -> None:
    """Tell the other processes when this transaction commits. SQLite has one process."""
    if connection.dialect.name == "postgresql":
        await notify(connection, "" if whose is None else f"{what} {whose}")


async def notify(connection: AsyncConnection, payload: str) -> None:
    """Send a message when this transaction commits."""
    await connection.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload})


async def watch(database: Database, url: URL, clock: Clock, heard: Heard) -> None:
    """Call `heard` whenever another process may have changed data of people. Runs until it is cancelled.

    `heard` is also called with `people` after every new connection, because earlier notifications are lost. Behind a pooler in transaction
    mode notifications do not arrive; then it is called so every `POLL_S`. Of guilds nothing is lost: their settings change in the process
    that has them, and another one that takes them reads them.
    """
    said = False
    while True:
        try:
            async with listening(database, url, heard) as line:
                heard("people", None)
                await line.stay(clock, quiet=said)
                said = True
        except Exception as fault:
            if not is_of_the_database(fault):
                raise
            log.warning("changes of other processes not received", cause=code(fault), retry_in_s=RETRY_S)
        await clock.sleep_until(clock.now() + RETRY_S)


@asynccontextmanager
async def listening(database: Database, url: URL, heard: Heard) -> AsyncIterator["NotifyListener"]:
    """A separate connection that listens."""
    connection = await connect_directly(url, CONNECT_S)
    line = NotifyListener(database, heard)
    try:
        connection.add_termination_listener(line.lost)
        await connection.add_listener(CHANNEL, line.said)
        yield line
    finally:
        with contextlib.suppress(Exception):  # it may already be lost
            await connection.close()


class NotifyListener:
    """One listening connection. Thread: loop."""

    def __init__(self, database: Database, heard: Heard) -> None:
        self._database = database
        self._heard = heard
        self._token = secrets.token_hex(TOKEN_CHARACTERS // 2)
        self._echoed = asyncio.Event()
        self._lost = asyncio.Event()

    def said(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        """A message arrived."""
        if payload == self._token:
            self._echoed.set()
        elif found := MESSAGE.fullmatch(payload):
            what: What = next(one for one in get_args(What) if one == found[1])
            self._heard(what, int(found[2]))
        elif len(payload) < TOKEN_CHARACTERS:
            self._heard("people", None)

    def lost(self, _connection: object) -> None:
        """The connection has ended."""
        self._lost.set()

    async def stay(self, clock: Clock, *, quiet: bool) -> None:
        """Test the connection regularly until it is lost, and poll if it delivers nothing; unless `quiet`, say so, too."""
        silent = 0
        while not self._lost.is_set() and silent < MOST_SILENT:
            if await self._brings_messages(clock):
                silent = 0
                await self._wait(self._lost, clock, CHECK_S)
            else:
                silent += 1
                if silent == FIRST_SILENT and not quiet:
                    log.warning("no notifications: is the database behind a pooler in transaction mode?", asked_every_s=POLL_S)
                self._heard("people", None)

    async def _brings_messages(self, clock: Clock) -> bool:
        """Whether a message that we send on another connection arrives within `POLL_S`."""
        self._echoed.clear()
        try:
            await self._database.write("No other process was told", lambda connection: notify(connection, self._token))
        except StoreError:
            await self._wait(self._lost, clock, POLL_S)
            return False
        return await self._wait(self._echoed, clock, POLL_S)

    @staticmethod
    async def _wait(event: asyncio.Event, clock: Clock, longest_s: float) -> bool:
        """Whether the event is set in time."""
        happening = asyncio.ensure_future(event.wait())
        late = asyncio.ensure_future(clock.sleep_until(clock.now() + longest_s))
        try:
            await asyncio.wait({happening, late}, return_when=asyncio.FIRST_COMPLETED)
            return event.is_set()
        finally:
            happening.cancel()
            late.cancel()
