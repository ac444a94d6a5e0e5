"""The HTTP server: a few paths, GET and HEAD only, on aiohttp, which py-cord needs anyway.

What a peer can make it hold is limited: connections, viewers of the live feed, headers, and the time of a reader who does not read.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

import structlog
from aiohttp import web

from discordplex.errors import DiscordplexError
from discordplex.monitoring.access import Access

log = structlog.get_logger()

MOST_CONNECTIONS = 64
"""More are closed at once."""

IDLE_S = 75.0
"""How long a connection may wait for its next request: longer than Prometheus usually does between two scrapes."""

CLOSE_S = 0.2
"""How long the end waits for answers that are being sent: the process has 5 s for everything."""

SILENT = logging.getLogger("discordplex.monitoring.http")
"""What aiohttp logs is the fault of a client; our own failures are logged in `_handle`."""
SILENT.propagate = False
SILENT.addHandler(logging.NullHandler())

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "discordplex",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer; the page has a policy of its own."""

Page: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class BoundedServer(web.Server):
    """aiohttp's server with at most `MOST_CONNECTIONS`."""

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Close the new connection where there are too many."""
        super().connection_made(handler, transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()


class Gatekeeper:
    """Answers requests that `access` allows with the page of their path."""

    def __init__(self, access: Access, pages: Mapping[str, Page]) -> None:
        self._access = access
        self._pages = pages

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to one request."""
        refusal = self._access.refusal(request.path, request.headers)
        if refusal:
            challenge = (
                {"WWW-Authenticate": 'Basic realm="discordplex", charset="UTF-8"'} if refusal.status == HTTPStatus.UNAUTHORIZED else {}
            )
            return plain(refusal.sentence, refusal.status, challenge)
        if request.method not in ("GET", "HEAD"):
            return plain("Only GET and HEAD are answered.", HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
        page = self._pages.get(request.path)
        if page is None:
            return plain(f"There are {', '.join(self._pages)}.", HTTPStatus.NOT_FOUND)
        try:
            return await page(request)
        except ConnectionError:
            raise
        except Exception:  # the edge: a bug in one page must not look like a fault of the client
            log.exception("monitoring page failed", path=request.path)
            return plain("This page failed; the log says why.", HTTPStatus.INTERNAL_SERVER_ERROR)


def plain(sentence: str, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> web.Response:
    """A short answer in words."""
    return web.Response(text=sentence + "\n", status=status, headers={**HEADERS, **(headers or {})})


@contextlib.asynccontextmanager
async def serving(access: Access, pages: Mapping[str, Page]) -> AsyncIterator[int]:
    """Listen inside the block; gives the port. At the end every connection is closed, also one that is being answered.

    Raises DiscordplexError with a sentence if the address is not available.
    """
    server = BoundedServer(
        Gatekeeper(access, pages).handle,
        handler_cancellation=True,
        access_log=None,
        logger=SILENT,
        keepalive_timeout=IDLE_S,
        lingering_time=0.0,
    )
    try:
        listener = await asyncio.get_running_loop().create_server(server, access.host, access.port)
    except OSError as fault:
        raise DiscordplexError(cannot_listen(access, fault)) from None
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(CLOSE_S)


def cannot_listen(access: Access, fault: OSError) -> str:
    """The sentence for an address that is not available."""
    if fault.errno == errno.EADDRINUSE:
        return f"monitoring.listen: something else listens at {access.shown} already. Stop it, or choose another port."
    if fault.errno == errno.EACCES:
        return f"monitoring.listen: this user may not listen at {access.shown}. Choose a port above 1023."
    return f"monitoring.listen: this machine cannot listen at {access.shown}. Name one of its own addresses, such as 127.0.0.1."
