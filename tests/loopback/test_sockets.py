"""All local servers where the process may open no more files and sockets."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import pytest

from discordplex import network
from discordplex.loopback import timeouts
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.loopback.personaplex.server import StandInServer
from tests.descriptors import descriptors, opened

SERVERS: dict[str, Callable[[], AbstractAsyncContextManager[Any]]] = {
    "discord": LoopbackDiscord,
    "openai": StandInOpenAI,
    "personaplex": StandInServer,
}


@pytest.mark.parametrize(("kind", "loop_files"), [("openai", 6), ("personaplex", 6), ("discord", 6), ("discord", 3)])
async def test_a_server_that_cannot_begin_says_so_and_leaves_nothing(kind: str, loop_files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each number of free descriptors: it raises the system's own error, or has begun. No descriptor, no thread is left behind.

    With `loop_files` exactly those of an event loop, each of the sockets after it is the one that cannot be opened too.
    """
    monkeypatch.setattr(network, "LOOP_FILES", loop_files)
    async with SERVERS[kind]():
        pass  # what is opened once for the whole process
    before, threads, begun, free = opened(), threading.active_count(), False, 0
    while not begun:
        with descriptors(free):
            try:
                async with SERVERS[kind]():
                    begun = True
            except OSError as fault:
                assert "Too many open files" in str(fault)  # noqa: PT017 -- it need not be raised
        assert opened() == before
        assert threading.active_count() == threads
        free += 1
    assert free > 1


@pytest.mark.parametrize(("kind", "path"), [("discord", "/api/v10/gateway"), ("openai", "/v1/models")])
async def test_who_cannot_be_accepted_waits(kind: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who are connected are served meanwhile; who waits is served as soon as a descriptor is free."""
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.02)
    refused = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: refused.set())
    async with SERVERS[kind]() as server, contextlib.AsyncExitStack() as exits:
        address = urlsplit(server.api_url if kind == "discord" else server.base_url)
        tls = ssl.create_default_context(cafile=server.ca_file) if kind == "discord" else None

        async def connect(plain: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", address.port))
            reader, writer = await asyncio.open_connection(sock=plain, ssl=tls, server_hostname="127.0.0.1" if tls else None)
            exits.push_async_callback(writer.wait_closed)
            exits.callback(writer.close)
            return reader, writer

        async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            key = b"Authorization: Bearer " + server.api_key.encode() if kind == "openai" else b"X: y"
            writer.write(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n" + key + b"\r\n\r\n")
            head = await timeouts.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            return head.split(b"\r\n")[0]

        sockets = [socket.socket() for _ in range(2)]
        for one in sockets:
            one.setblocking(False)
        first = await connect(sockets[0])
        assert await ask(*first) == b"HTTP/1.1 200 OK"
        with descriptors():
            waiting = asyncio.create_task(connect(sockets[1]))
            await timeouts.wait_for(refused.wait(), 10)
            assert await ask(*first) == b"HTTP/1.1 200 OK"
        assert await ask(*await timeouts.wait_for(waiting, 10)) == b"HTTP/1.1 200 OK"
