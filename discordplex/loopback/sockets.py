"""Listening, resetting and closing, as all local servers do it."""

import asyncio
import errno
import os
import socket
import ssl
import struct

from aiohttp import web

NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER with zero seconds: the kernel sends RST in place of FIN."""


async def listen(runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None = None) -> tuple[web.TCPSite, int]:
    """Listen with a runner that is set up; return the site and its port. Raises OSError if the address is not available."""
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    try:
        await site.start()
    except OSError as fault:
        if fault.errno is None:  # how asyncio says from Python 3.13 on that there was no socket
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from fault
        raise
    if not runner.addresses:  # before, it skips a socket that the process may not open
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return site, int(runner.addresses[0][1])


async def set_up(runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None = None) -> tuple[web.TCPSite, int]:
    """Set up a runner and listen with it, as `listen` does; if that fails, the runner is cleaned up."""
    await runner.setup()
    try:
        return await listen(runner, host, port, tls)
    except OSError:
        await runner.cleanup()
        raise


def reset_connection(transport: asyncio.BaseTransport | None) -> None:
    """Reset a TCP connection: no close frame, no TLS close, unsent data is lost."""
    if not isinstance(transport, asyncio.Transport) or transport.is_closing():
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()


async def close_websocket(websocket: web.WebSocketResponse, code: int, reason: str = "") -> None:
    """Close a WebSocket with a code; do nothing if it is closed already."""
    if not websocket.closed:
        await websocket.close(code=code, message=reason.encode())
