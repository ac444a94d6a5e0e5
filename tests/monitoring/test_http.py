"""The HTTP server under attack: it answers the next one, and holds only so much."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from discordplex.errors import DiscordplexError
from discordplex.loopback import timeouts
from discordplex.monitoring.access import Access
from discordplex.monitoring.http import MOST_CONNECTIONS, Page, plain, serving


async def fine(_request: web.BaseRequest) -> web.StreamResponse:
    return plain("ok")


async def broken(_request: web.BaseRequest) -> web.StreamResponse:
    raise ValueError("the words of somebody")


@contextlib.asynccontextmanager
async def server(**pages: Page) -> AsyncIterator[int]:
    async with serving(Access("127.0.0.1", 0, None), {"/fine": fine, "/broken": broken, **pages}) as port:
        yield port
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/fine") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n"), "whatever happened before, the next one is answered"


async def exchange(port: int, request: bytes) -> bytes:
    """What comes back until the server closes, or 2 s have passed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        writer.write(request)
        await writer.drain()
        return await timeouts.wait_for(reader.read(), 2)
    return b""


GET = b"GET /fine HTTP/1.1\r\nHost: localhost\r\n"
CLOSE = b"Connection: close\r\n\r\n"


async def test_every_answer_forbids_what_a_page_does_not_need() -> None:
    """No caching, no frames, no sniffing, nothing for other origins."""
    async with server() as port:
        for path in ("/fine", "/nothing"):
            answer = (await exchange(port, GET.replace(b"/fine", path.encode()) + CLOSE)).decode()
            for header in ("no-store", "default-src 'none'", "nosniff", "same-origin", "no-referrer", "DENY"):
                assert header in answer
            assert "aiohttp" not in answer
            assert "Access-Control" not in answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (GET + CLOSE, b"200"),
        (GET.replace(b"GET", b"HEAD") + CLOSE, b"200"),
        (GET.replace(b"GET", b"POST") + b"Content-Length: 0\r\n" + CLOSE, b"405"),
        (GET.replace(b"/fine", b"/" + b"x" * 20_000) + CLOSE, b"400"),
        (GET + b"X: " + b"y" * 100_000 + b"\r\n" + CLOSE, b"400"),
        (GET + b"".join(b"X%d: y\r\n" % number for number in range(10_000)) + CLOSE, b""),  # old releases of aiohttp take them
        (GET.replace(b"localhost", b"evil.example") + CLOSE, b"403"),
        (GET.replace(b"Host: localhost\r\n", b"") + CLOSE, b"4"),
        (GET.replace(b"/fine", b"/../../etc/passwd") + CLOSE, b"404"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n", b"400"),
    ],
)
async def test_one_request(request_bytes: bytes, status: bytes) -> None:
    """Well or badly made, of any size: a status, and no line in the log that a stranger can fill."""
    async with server() as port:
        with capture_logs() as lines:
            answer = await exchange(port, request_bytes)
    assert answer.startswith((b"HTTP/1.1 " + status, b"HTTP/1.0 " + status)), answer[:200]
    assert lines == []


async def test_a_megabyte_that_is_one_line() -> None:
    """The connection ends before it was all sent."""
    async with server() as port:
        answer = await exchange(port, GET.replace(b"/fine", b"/" + b"x" * 1_000_000) + CLOSE)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


async def test_pipelined_requests_are_answered_in_order() -> None:
    """A thousand in one go."""
    async with server() as port:
        answer = await exchange(port, (GET + b"\r\n") * 999 + GET + CLOSE)
    assert answer.count(b"HTTP/1.1 200") == 1000


async def test_a_body_is_not_read() -> None:
    """Somebody announces a gigabyte: there is an answer before it, and the connection ends."""
    async with server() as port:
        answer = await exchange(port, GET + b"Content-Length: 1000000000\r\n\r\n" + b"x" * 100_000)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 200")


async def test_connections_are_limited() -> None:
    """Those that are there stay; the others are closed, and room that was left is given again."""
    async with server() as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS)]
        await asyncio.sleep(0)
        assert await exchange(port, GET + CLOSE) == b""
        for _, writer in held:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in held), return_exceptions=True)


async def test_a_page_that_fails_is_ours() -> None:
    """It is logged, and the words of the failure are not sent."""
    async with server() as port:
        with capture_logs() as lines:
            answer = await exchange(port, GET.replace(b"/fine", b"/broken") + CLOSE)
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"somebody" not in answer
    assert [line["event"] for line in lines] == ["monitoring page failed"]


async def test_the_end_waits_for_nobody() -> None:
    """An answer that never ends is cut off."""
    begun = asyncio.Event()

    async def endless(_request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await asyncio.Event().wait()
        return plain("never")

    async with asyncio.timeout(timeouts.FACTOR * 5) if hasattr(asyncio, "timeout") else contextlib.nullcontext():
        async with serving(Access("127.0.0.1", 0, None), {"/endless": endless}) as port:
            asking = asyncio.create_task(exchange(port, GET.replace(b"/fine", b"/endless") + CLOSE))
            await begun.wait()
        assert await asking == b""


async def test_an_address_that_is_taken() -> None:
    """One plain sentence, and so for one that is not ours."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DiscordplexError, match=f"something else listens at 127.0.0.1:{port} already"):
            async with serving(Access("127.0.0.1", port, None), {}):
                pass
    with pytest.raises(DiscordplexError, match=r"cannot listen at 203\.0\.113\.1:0"):
        async with serving(Access("203.0.113.1", 0, b"x"), {}):
            pass
