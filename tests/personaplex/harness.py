"""What the tests of this room share: a persona, a list of events that can be awaited, a server that only fails."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from discordplex.clock import Clock, SystemClock
from discordplex.engine import Persona
from discordplex.loopback.timeouts import Changes
from discordplex.personaplex.client import PersonaPlexClient
from discordplex.personaplex.connection import ConversationEnded, Event
from discordplex.personaplex.endings import Ending
from discordplex.personaplex.endpoint import Endpoint

PERSONA = Persona("NATF0.pt", "You enjoy having a good conversation.")


class Events(list[Event]):
    """A client's events in order."""

    def __init__(self) -> None:
        super().__init__()
        self._changes = Changes()

    def add(self, event: Event) -> None:
        self.append(event)
        self._changes.tell()

    async def until(self, predicate: Callable[["Events"], object], timeout_s: float = 10.0) -> None:
        try:
            await self._changes.until(lambda: predicate(self), timeout_s)
        except asyncio.TimeoutError:
            pytest.fail(f"the client never told what was waited for; it told {self[-10:]}")

    async def ending(self) -> Ending:
        """How it ended, as soon as it has."""
        await self.until(lambda events: events and isinstance(events[-1], ConversationEnded))
        last = self[-1]
        assert isinstance(last, ConversationEnded)
        return last.ending


def client_of(
    url: str, events: Events | None = None, *, persona: Persona = PERSONA, clock: Clock | None = None, verify_tls: bool = True
) -> PersonaPlexClient:
    """A client of one server, not yet open."""
    return PersonaPlexClient(
        endpoint=Endpoint.parse(url),
        persona=persona,
        clock=clock or SystemClock(),
        verify_tls=verify_tls,
        on_event=(Events() if events is None else events).add,
    )


@asynccontextmanager
async def opened(url: str, events: Events) -> AsyncIterator[PersonaPlexClient]:
    """A client in a live conversation."""
    client = client_of(url, events)
    await client.open(20.0)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def plain_server(answer: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[str]:
    """The address of a TCP server that does `answer` to each connection, and nothing else."""
    writers: list[asyncio.StreamWriter] = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        answer(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
