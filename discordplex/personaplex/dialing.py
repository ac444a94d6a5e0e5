"""Open the WebSocket to a server, or say in one sentence why it could not be opened."""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, WebSocketException

from discordplex.descriptors import out_of_descriptors, says_no_descriptors
from discordplex.errors import ConfigError
from discordplex.network import NetworkSettingError, ProxyFailedError, open_websocket, tls_context
from discordplex.personaplex import endings
from discordplex.personaplex.endings import Ending
from discordplex.personaplex.endpoint import Endpoint
from discordplex.plaintext import one_line
from discordplex.websocket import Guard, GuardedConnection

UPGRADE_TIMEOUT_S = 10.0
"""A healthy server upgrades within milliseconds (measured: 3 ms), even while it is busy."""

CLOSE_TIMEOUT_S = 1.0
"""A server that is busy with another call reads nothing and so never answers our close frame; a bot that leaves does not wait for it."""

MAX_MESSAGE_BYTES = 1 << 16
"""Largest message from the server: slightly more than the longest Ogg page. Messages of real servers have some 300 bytes."""

WRITE_LIMIT_BYTES = 1 << 20
"""Above this `send` would wait for the peer. It is never reached: the engine drops PCM long before."""

SEND_BUFFER_BYTES = 16 * 1024
"""The kernel's send buffer: two to four seconds of pages. The default would hold minutes of speech before anybody noticed that the server
does not read, and the server would have to hear it all afterwards."""

FAILURES = (NetworkSettingError, OSError, asyncio.TimeoutError, WebSocketException)
"""All that `dial` raises."""


async def dial(endpoint: Endpoint, url: str, *, verify_tls: bool, guard: Guard) -> GuardedConnection:
    """An open WebSocket, without compression and without keep-alive: a server that loads prompts or is busy answers no ping.

    `guard` is called with each number of bytes and of frames received; where it returns False the connection is closed. Raises one of
    FAILURES; `ending_of` says what it means.
    """
    options: dict[str, Any] = {}
    if endpoint.secure:
        # Reading the certificates takes tens of milliseconds, and other calls run on this loop.
        options["ssl"] = await asyncio.to_thread(tls_context, verify=verify_tls)
    connection = await open_websocket(
        url,
        guard=guard,
        compression=None,
        ping_interval=None,
        open_timeout=UPGRADE_TIMEOUT_S,
        close_timeout=CLOSE_TIMEOUT_S,
        max_size=MAX_MESSAGE_BYTES,
        write_limit=WRITE_LIMIT_BYTES,
        **options,
    )
    connection.limit_send_buffer(SEND_BUFFER_BYTES)
    return connection


def ending_of(error: BaseException, endpoint: Endpoint) -> Ending:
    """What a failure of `dial` means, as a sentence."""
    if says_no_descriptors(error) or out_of_descriptors():
        return endings.no_descriptors(endpoint.name)
    return next((meaning(error, endpoint) for kinds, meaning in MEANINGS if isinstance(error, kinds)), endings.unreachable(endpoint.name))


def status_ending(error: InvalidStatus, endpoint: Endpoint) -> Ending:
    """What an HTTP status other than 101 means."""
    status, location = error.response.status_code, error.response.headers.get("Location", "")
    if status in REDIRECTS:
        return endings.redirected(endpoint.name, status, address_of(location, endpoint))
    return endings.refused(endpoint.name, status)


REDIRECTS = range(300, 400)


def address_of(location: str, endpoint: Endpoint) -> str:
    """The WebSocket address that a redirect names, without anything secret; "" where it names none, or the same again.

    The server wrote it and people read it, so it is cut short and made visible.
    """
    try:
        parts = urlsplit(urljoin(urlunsplit(endpoint.parts._replace(scheme=endpoint.http)), location))
        # The query of the redirect is mostly ours, with the role in it.
        address = Endpoint.parse(urlunsplit(parts._replace(query="", fragment=""))).name
    except (ConfigError, ValueError):
        return ""
    return "" if address == endpoint.name else one_line(address, LONGEST_ADDRESS)


LONGEST_ADDRESS = 200


def tls_ending(error: ssl.SSLError, endpoint: Endpoint) -> Ending:
    """What an error of OpenSSL means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return endings.untrusted(endpoint.name, error.verify_message)
    if error.reason in NOT_TLS:
        return endings.no_tls(endpoint.name)
    return endings.tls_failed(endpoint.name, error.reason or "the handshake failed")


STATUS = re.compile(r"HTTP/\d\.\d (\d{3})")


def answer_ending(error: InvalidMessage, endpoint: Endpoint) -> Ending:
    """What came instead of an HTTP/1.1 answer: nothing, garbage, or aiohttp's refusal of a request line that is too long.

    The latter is HTTP/1.0, since aiohttp has not understood the request; websockets rejects it and quotes it in the cause (15.0 to 17.4).
    """
    cause = error.__cause__
    status = STATUS.search(str(cause))
    if status is not None:
        return endings.refused(endpoint.name, int(status[1]))
    if isinstance(cause, (EOFError, OSError)):
        return endings.hung_up(endpoint.name, secure=endpoint.secure)
    return endings.not_websocket(endpoint.name)


NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})
"""OpenSSL's codes (1.1 and 3) for an answer that is plain HTTP."""

MEANINGS: tuple[tuple[tuple[type[BaseException], ...], Callable[[Any, Endpoint], Ending]], ...] = (
    ((NetworkSettingError,), lambda error, _: Ending(str(error), retry=False, cause=error.cause)),
    ((ProxyFailedError,), lambda error, _: Ending(str(error), retry=True, cause=error.cause)),
    # On Python 3.10 the two time-outs differ, and every one of these is an OSError: the order matters.
    ((asyncio.TimeoutError, TimeoutError), lambda _, endpoint: endings.upgrade_late(endpoint.name, UPGRADE_TIMEOUT_S)),
    ((ssl.SSLError,), tls_ending),
    ((socket.gaierror,), lambda _, endpoint: endings.unknown_host(endpoint.name, endpoint.host)),
    ((InvalidMessage,), answer_ending),
    ((ConnectionResetError, BrokenPipeError), lambda _, endpoint: endings.hung_up(endpoint.name, secure=endpoint.secure)),
    ((InvalidStatus,), status_ending),
    ((InvalidHandshake,), lambda _, endpoint: endings.not_websocket(endpoint.name)),
)
