"""Fixtures of this room."""

import asyncio
import ssl

import pytest
import trustme


@pytest.fixture
def authority() -> trustme.CA:
    """A certificate authority that nobody trusts by itself."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server's TLS for 127.0.0.1, signed by `authority`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
async def closed_port() -> int:
    """A port at which nobody listens."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
