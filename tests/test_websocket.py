"""A WebSocket of ours: what its peer may send, writing without a wait, and its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from discordplex.network import open_websocket
from discordplex.websocket import AT_ONCE, GuardedConnection, SocketEnd, hang_up


@contextlib.asynccontextmanager
async def connected(
    peer: Callable[[ServerConnection], Awaitable[None]], guard: Callable[[int, int], bool] = lambda _size, _frames: True
) -> AsyncIterator[GuardedConnection]:
    """A connection to this peer; messages have at most 100 bytes."""
    async with serve(peer, "127.0.0.1", 0, close_timeout=0.1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        connection = await open_websocket(f"ws://127.0.0.1:{port}/", guard=guard, max_size=100, close_timeout=0.1)
        try:
            yield connection
        finally:
            await hang_up(connection)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda peer: peer.close(4000), SocketEnd(4000, too_big=False)),
        (lambda peer: peer.close(1009), SocketEnd(1009, too_big=False)),
        (lambda peer: peer.send("x" * 101), SocketEnd(1006, too_big=True)),
    ],
    ids=["closed", "says that ours was too big", "too big"],
)
async def test_how_a_socket_ended(end: Callable[[ServerConnection], Awaitable[None]], expected: SocketEnd) -> None:
    """What came before is read; the end says who ended it and why; what is sent afterwards goes nowhere."""

    async def peer(connection: ServerConnection) -> None:
        await connection.send("hello")
        await end(connection)

    async with connected(peer) as connection:
        assert await connection.next_message() == "hello"
        assert await connection.next_message() == expected
        connection.send_now("late")
        connection.ping_now()
        connection.limit_send_buffer(1000)


async def test_a_cut_connection_has_no_close_code() -> None:
    """The guard ends it, and nothing more is parsed."""

    async def flood(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send("x" * 50)
                await asyncio.sleep(0)

    frames = iter([True] * 3)
    async with connected(flood, lambda _size, count: not count or next(frames, False)) as connection:
        found = 0
        while not isinstance(message := await connection.next_message(), SocketEnd):
            found += 1
        assert message == SocketEnd(1006, too_big=False)
        assert found <= 3


async def test_text_binary_and_pings_are_sent_without_a_wait() -> None:
    """In order; several pings without an answer."""
    got: list[str | bytes] = []

    async def peer(connection: ServerConnection) -> None:
        async for message in connection:
            got.append(message)
            await connection.send("")

    async with connected(peer) as connection:
        for message in ("text", b"binary"):
            connection.ping_now()
            connection.send_now(message)
        await connection.next_message()
        await connection.next_message()
        assert got == ["text", b"binary"]
        assert connection.backlog_bytes == 0


@pytest.mark.parametrize("size", [0, 125, 126, 0xFFFF, 0x10000], ids=str)
async def test_messages_of_every_length_arrive_as_they_were_sent(size: int) -> None:
    """A frame has three kinds of header, by its length; each is masked, which a server demands."""
    got: list[str | bytes] = []

    async def peer(connection: ServerConnection) -> None:
        async for message in connection:
            got.append(message)
            await connection.send("")

    async with connected(peer) as connection:
        sent = (bytes(range(256)) * (size // 256 + 1))[:size]
        connection.send_now(sent)
        connection.send_now("\N{LATIN SMALL LETTER A WITH DIAERESIS}" * (size // 2))
        await connection.next_message()
        await connection.next_message()
        assert got == [sent, "\N{LATIN SMALL LETTER A WITH DIAERESIS}" * (size // 2)]


async def test_messages_handled_where_they_are_parsed_overtake_no_other() -> None:
    """Whole binary ones are, up to a number in one read; text, fragments, and what is behind them, wait for a reader."""

    def whole(content: bytes) -> bytes:
        return bytes((0x82, len(content))) + content

    text, fragments = b"\x81\x04text", b"\x02\x014" + b"\x80\x015"
    async with connected(lambda peer: peer.wait_closed()) as connection:
        got: list[str | bytes] = []
        connection.on_message = got.append
        connection.data_received(whole(b"1") + text + whole(b"3") + fragments)
        connection.data_received(whole(b"6"))
        assert got == [b"1"]
        got += [await connection.next_message() for _ in range(4)]  # type: ignore[misc]  # no end comes among them
        assert got == [b"1", "text", b"3", b"45", b"6"]
        connection.data_received(whole(b"x") * (AT_ONCE + 1))
        assert got[5:] == [b"x"] * AT_ONCE
        assert await connection.next_message() == b"x"
        connection.data_received(whole(b"7"))
        assert got[-1] == b"7"


async def test_each_frame_has_a_mask_of_its_own() -> None:
    """A peer cannot foresee what is on the wire (RFC 6455 section 5.3)."""
    async with connected(lambda peer: peer.wait_closed()) as connection:
        written: list[bytes] = []
        connection.transport.write = written.append  # type: ignore[method-assign, assignment]  # to see the bytes
        connection.send_now(b"the same")
        connection.send_now(b"the same")
        assert written[0][:2] == written[1][:2]
        assert written[0][2:6] != written[1][2:6]


async def test_who_is_cancelled_while_hanging_up_leaves_nothing_behind() -> None:
    """The peer answers no close frame; the tasks have ended and so has the connection."""
    silent = asyncio.Event()

    async def peer(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await silent.wait()

    async with connected(peer) as connection:
        serving = asyncio.create_task(asyncio.Event().wait())
        leaving = asyncio.create_task(hang_up(connection, serving))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert serving.cancelled()
        assert connection.transport.is_closing()
        silent.set()
