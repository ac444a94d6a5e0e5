"""Proxies on 127.0.0.1 that count: an HTTP one and a SOCKS5 one. Whatever name is asked for, they connect to this machine."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from discordplex.tasks import cancel_and_wait


@dataclass
class Seen:
    """What a proxy was asked for."""

    port: int
    """Its own."""
    targets: list[tuple[str, int]] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)

    @property
    def ports(self) -> set[int]:
        return {port for _, port in self.targets}


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b"") -> None:
    upstream, downstream = await asyncio.open_connection("127.0.0.1", port)
    downstream.write(first)
    await asyncio.gather(pump(reader, downstream), pump(upstream, writer))


@asynccontextmanager
async def served(answer: "asyncio.streams._ClientConnectedCallback") -> AsyncIterator[int]:
    """A server on a free port; at the end every connection of it is dropped."""
    running: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def guard() -> None:
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await answer(reader, writer)  # type: ignore[misc] # ours are coroutines
            finally:
                writer.close()

        task = asyncio.get_running_loop().create_task(guard())
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            await cancel_and_wait(*running)


@asynccontextmanager
async def http_proxy(refuse: int = 0) -> AsyncIterator[Seen]:
    """An HTTP proxy that tunnels and forwards; with `refuse` it answers every request with that status."""
    seen = Seen(0)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *headers = head.decode().split("\r\n")
        seen.credentials += [header for header in headers if header.lower().startswith("proxy-authorization")]
        method, target, version = line.split(" ")
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        port = parts.port or 80
        seen.targets.append((parts.hostname or "", port))
        if refuse:
            writer.write(f"HTTP/1.1 {refuse} No\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await relay(reader, writer, port)
            return
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        await relay(reader, writer, port, "\r\n".join([f"{method} {path} {version}", *headers]).encode())

    async with served(answer) as port:
        seen.port = port
        yield seen


@asynccontextmanager
async def socks_proxy(reply: int = 0) -> AsyncIterator[Seen]:
    """A SOCKS5 proxy (RFC 1928); a `reply` above 0 refuses every connection."""
    seen = Seen(0)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        offered = await reader.readexactly(methods)
        writer.write(b"\x05\x02" if 2 in offered else b"\x05\x00")
        if 2 in offered:
            _, length = await reader.readexactly(2)
            user = await reader.readexactly(length)
            secret = await reader.readexactly((await reader.readexactly(1))[0])
            seen.credentials.append(f"{user.decode()}:{secret.decode()}")
            writer.write(b"\x01\x00")
        _, _, _, kind = await reader.readexactly(4)
        length = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        host = await reader.readexactly(length)
        port = int.from_bytes(await reader.readexactly(2), "big")
        seen.targets.append((host.decode() if kind == 3 else str(ipaddress.ip_address(host)), port))
        writer.write(bytes([5, reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        await writer.drain()
        if not reply:
            await relay(reader, writer, port)

    async with served(answer) as port:
        seen.port = port
        yield seen
