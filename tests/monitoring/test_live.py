"""The live feed: many viewers, slow ones, and those who leave."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from discordplex.clock import SystemClock
from discordplex.loopback import timeouts
from discordplex.monitoring import live
from discordplex.monitoring.access import Access
from discordplex.monitoring.http import serving
from discordplex.monitoring.live import MOST_VIEWERS, LiveFeed
from discordplex.tasks import cancel_and_wait

GET = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.asynccontextmanager
async def feeding(state: bytes = b"{}") -> AsyncIterator[tuple[LiveFeed, int, list[int]]]:
    """A feed of one state, its port, and how often the state was made."""
    made: list[int] = []

    def make() -> bytes:
        made.append(len(made))
        return state

    feed = LiveFeed(make, SystemClock())
    running = asyncio.create_task(feed.run())
    async with serving(Access("127.0.0.1", 0, None), {"/events": feed.serve}) as port:
        yield feed, port, made
    await cancel_and_wait(running)


async def viewers_are(feed: LiveFeed, count: int) -> None:
    async def wait() -> None:
        while feed.viewers != count:  # noqa: ASYNC110 -- a count
            await asyncio.sleep(0.01)

    await timeouts.wait_for(wait(), 10)


async def test_a_viewer_gets_each_state_and_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made before somebody watches, nor after the last one has left."""
    monkeypatch.setattr(live, "TICK_S", 0.01)
    async with feeding(b'{"a":1}') as (feed, port, made):
        assert made == []
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/events") as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            for _ in range(3):
                assert await answer.content.readline() == b'data: {"a":1}\n'
                assert await answer.content.readline() == b"\n"
        await viewers_are(feed, 0)
        count = len(made)
        await asyncio.sleep(0.05)
        assert len(made) <= count + 1


async def test_a_state_is_made_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many viewers as there may be get the same states; one more gets a plain answer."""
    monkeypatch.setattr(live, "TICK_S", 0.05)
    async with feeding() as (feed, port, made), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        url = f"http://127.0.0.1:{port}/events"
        answers = [await session.get(url) for _ in range(MOST_VIEWERS)]
        await viewers_are(feed, MOST_VIEWERS)
        async with session.get(url) as refused:
            assert refused.status == 503
            assert refused.headers["Retry-After"] == "5"
        before = len(made)
        for answer in answers:
            for _ in range(6):
                await answer.content.readline()
        assert len(made) - before < 3 * MOST_VIEWERS
        for answer in answers:
            answer.close()
        await viewers_are(feed, 0)
        async with session.get(url) as answer:
            assert answer.status == 200, "room is given again"


async def test_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others get on meanwhile; nothing piles up for the slow one."""
    monkeypatch.setattr(live, "TICK_S", 0.01)
    monkeypatch.setattr(live, "SLOW_S", 0.3)
    async with feeding(b"x" * 1_000_000) as (feed, port, _):
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(GET)
            await viewers_are(feed, 1)
            async with aiohttp.ClientSession(read_bufsize=2**21) as session, session.get(f"http://127.0.0.1:{port}/events") as answer:
                for _ in range(8):
                    assert len(await answer.content.readline()) == 1_000_007
                    await answer.content.readline()
                await viewers_are(feed, 1)
        await viewers_are(feed, 0)


async def test_requests_behind_it_do_not_pile_up() -> None:
    """The server stops reading: at some point the other side cannot send any more."""
    async with feeding() as (feed, port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await viewers_are(feed, 1)
        writer.transport.set_write_buffer_limits(high=0)
        with contextlib.suppress(asyncio.TimeoutError, ConnectionError):
            for _ in range(200):
                writer.write(GET * 2000)
                await asyncio.wait_for(writer.drain(), 0.5)
            pytest.fail("the server took 20 MB")
        writer.transport.abort()
        await viewers_are(feed, 0)
