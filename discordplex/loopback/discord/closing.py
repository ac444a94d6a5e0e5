"""Ending a connection the way a network or a server does it."""

import socket
import struct

from aiohttp import web


def reset(request: web.Request) -> None:
    """Break the TCP connection under a request with a reset: no close frame, no TLS farewell."""
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        # Linger on, zero seconds: the kernel sends RST in place of FIN.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def close_socket(socket_: web.WebSocketResponse, code: int, reason: str = "") -> None:
    """Close a WebSocket with a code; one that is already closed stays so."""
    if not socket_.closed:
        await socket_.close(code=code, message=reason.encode())
