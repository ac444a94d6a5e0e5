"""What happened at a stand-in server, as typed records with times, so that tests and people can tell who did what when."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from discordplex.loopback import timeouts

LOG_RECORDS = 100_000
"""Newest ones kept: a quarter of an hour of a call."""


@dataclass(frozen=True, slots=True)
class Record:
    """Something that happened at `at` on the server's clock, to its client number `client` (from 1)."""

    at: float
    client: int


@dataclass(frozen=True, slots=True)
class Connected(Record):
    """The upgrade succeeded. It says nothing about whether anybody will listen."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused(Record):
    """The query was no good, and the connection was dropped right after its upgrade."""

    why: str


@dataclass(frozen=True, slots=True)
class PromptsLoading(Record):
    """The client has the lock, and its prompts are being loaded."""


@dataclass(frozen=True, slots=True)
class MessageDiscarded(Record):
    """A message came before the handshake and was thrown away."""

    size: int


@dataclass(frozen=True, slots=True)
class HandshakeSent(Record):
    """The handshake was sent, by the persona that was in force by then: another client's, where one has meddled."""

    voice: str
    text_prompt: str


@dataclass(frozen=True, slots=True)
class AudioReceived(Record):
    """An audio message was decoded."""

    size: int
    samples: int


@dataclass(frozen=True, slots=True)
class AudioSent(Record):
    """An audio message was sent."""

    size: int


@dataclass(frozen=True, slots=True)
class TextSent(Record):
    """A piece of text was sent."""

    piece: str


@dataclass(frozen=True, slots=True)
class MessageIgnored(Record):
    """A message of no use to the server came, and was ignored."""

    kind: int | None


@dataclass(frozen=True, slots=True)
class Pinged(Record):
    """A WebSocket ping came."""

    size: int = 0
    """Of its payload."""


@dataclass(frozen=True, slots=True)
class Crashed(Record):
    """The audio loop died."""

    why: str


@dataclass(frozen=True, slots=True)
class ConversationClosed(Record):
    """The conversation is over. `code` is what the client will have seen or has sent; 1006 where there was none."""

    code: int
    by: Literal["client", "server", "network"]


Kind = TypeVar("Kind", bound=Record)


class Log(deque[Record]):
    """Records in the order they happened, oldest first."""

    def __init__(self) -> None:
        super().__init__(maxlen=LOG_RECORDS)
        self._changed = asyncio.Event()

    def add(self, record: Record) -> None:
        """Write down one more and wake who waits."""
        self.append(record)
        self._changed.set()

    def of(self, kind: type[Kind], client: int | None = None) -> list[Kind]:
        """All records of one kind, of one client or of all."""
        return [record for record in self if isinstance(record, kind) and client in (None, record.client)]

    async def wait_for(self, predicate: Callable[["Log"], object], timeout_s: float = 20.0) -> None:
        """Return as soon as `predicate(log)` is true. Raises asyncio.TimeoutError after `timeout_s`."""
        await timeouts.wait_for(self._wait_for(predicate), timeout_s)

    async def _wait_for(self, predicate: Callable[["Log"], object]) -> None:
        while not predicate(self):
            self._changed.clear()
            await self._changed.wait()
