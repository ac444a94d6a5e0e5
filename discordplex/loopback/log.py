"""What happened at a stand-in server, as typed records in order, so that tests and people can tell who did what when."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from discordplex.loopback.timeouts import Changes

LOG_RECORDS = 100_000
"""Newest records kept: a quarter of an hour of a call."""


@dataclass(frozen=True, slots=True)
class Record:
    """Something that happened at `at` on the server's clock, to its client number `client` (from 1)."""

    at: float
    client: int


Kind = TypeVar("Kind", bound=Record)


class Log(deque[Record]):
    """Records in the order they happened, oldest first."""

    def __init__(self) -> None:
        super().__init__(maxlen=LOG_RECORDS)
        self._changes = Changes()

    def add(self, record: Record) -> None:
        """Append a record and wake the waiter."""
        self.append(record)
        self._changes.tell()

    def of(self, kind: type[Kind], client: int | None = None) -> list[Kind]:
        """All records of one kind, of one client or of all."""
        return [record for record in self if isinstance(record, kind) and client in (None, record.client)]

    async def wait_for(self, predicate: Callable[["Log"], object], timeout_s: float = 20.0) -> None:
        """Return as soon as `predicate(log)` is true. Raises asyncio.TimeoutError after `timeout_s`."""
        await self._changes.until(lambda: predicate(self), timeout_s)
