"""The official SDK: imported when a call begins, one client for each server. What all requests have in common is here and nowhere else."""

import asyncio
import contextlib
import importlib
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import anyio
import structlog

from discordplex.clock import Clock
from discordplex.errors import ConfigError
from discordplex.installing import pip_extra
from discordplex.network import httpx_proxy, refuse_failed_proxy, tls_context
from discordplex.services.faults import HttpError, OverdueError, may_repeat_after_s, service_error
from discordplex.services.response import ServiceResponse, refuse_failure
from discordplex.services.service import Service

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = structlog.get_logger()

MISSING: Final = "The cascade engine and hearing.enabled need packages that are not installed."
EXTRA: Final = "cascade"

CONNECT_S = 5.0
"""A host that has not accepted a connection by then is dead."""

KEEP_S = 120.0
"""How long an unused connection is kept. The library's 5 s are over between two turns, and a new connection costs two or three round trips
with TLS, for each of three services."""

MOST_HEADER_BYTES: Final = 1 << 14
"""Limit of an answer's headers, which are parsed at once. The library's 100 kB can hold 25,000 headers, which take a tenth of a second."""
READ_BYTES: Final = 1 << 11
"""Bytes read at once. All that was read is parsed before the loop's next step: up to a hundred interim answers (status 103)."""

HEADERS: Final = frozenset(
    "accept accept-encoding authorization connection content-length content-type host transfer-encoding user-agent".split()  # noqa: SIM905 -- a table
)
"""The headers a request of ours may have. The SDK adds what environment variables say (`OPENAI_CUSTOM_HEADERS`, `OPENAI_ORG_ID`), whichever
server is asked, and what it knows of this machine; those are removed."""

Upload: TypeAlias = tuple[str, bytes, str]
"""A file's name, its bytes and their content type."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request: GET without a body, else POST of JSON, or of a form where there is a file."""

    path: str
    body: Mapping[str, Any] | None = None
    file: Upload | None = None


Response = TypeVar("Response")


def is_installed() -> bool:
    """Whether the SDK can be imported; imports nothing."""
    return importlib.util.find_spec("openai") is not None


class NoCookies(CookieJar):
    """A cookie jar that stays empty. The API has no cookies; a server could fill the memory and every later request with them."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Keep none."""


def header_filter(api_key: str) -> Callable[[Any], Awaitable[None]]:
    """A hook for the HTTP library that removes every header but ours from a request, and every key but the service's."""

    async def keep_own_headers(request: Any) -> None:
        for name in set(request.headers) - HEADERS:
            del request.headers[name]
        if not request.url.userinfo:  # else the library has made a header of it
            request.headers["Authorization"] = f"Bearer {api_key}"

    return keep_own_headers


def close_on_surplus(connection: Any) -> None:
    """Close connections of this class that carry more than one answer: the surplus would be read as the next request's answer."""
    reuse = connection._response_closed  # noqa: SLF001 -- where the library decides whether a connection is kept
    if getattr(reuse, "closes_on_surplus", False):
        return

    async def reuse_or_close(self: Any) -> None:
        if self._h11_state.trailing_data[0]:
            await self.aclose()
        else:
            await reuse(self)

    reuse_or_close.closes_on_surplus = True  # type: ignore[attr-defined]
    connection._response_closed = reuse_or_close  # noqa: SLF001 -- as above


class Clients:
    """One client for each server and key. Close it on the loop that used it."""

    def __init__(self, services: Iterable[Service]) -> None:
        """Not on the event loop: the SDK takes 0.7 s to import and each client 30 ms to make.

        Raises ConfigError where the SDK is not installed, or where an environment variable for proxies or certificates is invalid.
        """
        try:
            import openai  # noqa: PLC0415 -- 940 modules and 33 MB that only who uses it pays for
        except ImportError:
            raise not_installed() from None
        self._openai = openai
        # httpx or httpx2, whichever this version of the SDK is made with.
        library = type(openai.DEFAULT_CONNECTION_LIMITS).__module__.partition(".")[0]
        self._response: Any = importlib.import_module(library).Response
        connection = importlib.import_module(library.replace("httpx", "httpcore")).AsyncHTTP11Connection
        connection.MAX_INCOMPLETE_EVENT_SIZE, connection.READ_NUM_BYTES = MOST_HEADER_BYTES, READ_BYTES
        close_on_surplus(connection)
        self._clients: dict[tuple[str, str], AsyncOpenAI] = {}
        for service in services:
            place = (service.base_url, service.api_key)
            if place not in self._clients:
                self._clients[place] = self._client(service)
                self._clients[place].platform_headers()  # httpx asks the system for proxies once per process
        importlib.import_module("anyio._backends._asyncio")  # the first connection would import it on the loop, in 45 ms
        for name in ("_core._sockets", "streams.memory", "streams.stapled"):
            importlib.import_module(f"anyio.{name}")

    def _client(self, service: Service) -> "AsyncOpenAI":
        limits = type(self._openai.DEFAULT_CONNECTION_LIMITS)(keepalive_expiry=KEEP_S)
        http_client = self._openai.DefaultAsyncHttpxClient(
            limits=limits,
            follow_redirects=False,  # a redirect would send speech, prompts and keys to a host that nobody configured
            event_hooks={"request": [header_filter(service.api_key)], "response": [refuse_failure]},
            cookies=NoCookies(),
            trust_env=False,  # one policy for all our clients: network.py
            proxy=httpx_proxy(service.base_url),
            verify=tls_context(verify=urlsplit(service.base_url).scheme == "https"),
        )
        return self._openai.AsyncOpenAI(
            base_url=service.base_url,
            api_key=service.api_key,
            http_client=http_client,
            max_retries=0,  # the SDK's own retries would wait for up to a minute, and repeat what a dead server never answers
        )

    @contextlib.asynccontextmanager
    async def ask(self, service: Service, request: Request, clock: Clock) -> AsyncIterator[ServiceResponse]:
        """The server's answer to a request; leaving the block ends the request. Raises only ServiceError.

        The SDK makes the request but does not read the answer: its own methods would read everything, decompress it, build models of every
        token and follow redirects.
        """
        deadline = clock.now() + service.total_timeout_s
        try:
            response = await with_one_retry(lambda: self._before(deadline, clock, service, request), service, clock)
            try:
                yield ServiceResponse(response, service, clock, deadline)
            finally:
                await response.aclose()
        except Exception as error:
            raise service_error(error, service) from error

    async def _before(self, deadline: float, clock: Clock, service: Service, request: Request) -> Any:
        """As `_send`. Raises OverdueError at the deadline, which also bounds headers that arrive slowly."""
        with anyio.CancelScope() as scope:
            timer = asyncio.create_task(cancel_at(scope, clock, deadline), name="cascade:deadline")
            try:
                return await self._send(service, request)
            finally:
                timer.cancel()
        raise OverdueError

    async def _send(self, service: Service, request: Request) -> Any:
        """The HTTP library's response, once its headers have come. Raises HttpError unless the status is a success."""
        timeout = self._openai.Timeout(service.timeout_s, connect=min(CONNECT_S, service.timeout_s))
        options: dict[str, Any] = {"timeout": timeout, "headers": {"Accept-Encoding": "identity"}}
        more: dict[str, Any] = {
            "options": options,
            "cast_to": self._response,
            "stream": True,
            "stream_cls": self._openai.AsyncStream[object],
        }
        client: Any = self._clients[service.base_url, service.api_key]
        try:
            if request.body is None:
                return await client.get(service.url_of(request.path), **more)
            options["extra_json"] = dict(service.extra)
            if request.file is not None:
                options["headers"]["Content-Type"] = "multipart/form-data"
                more["files"] = [("file", request.file)]
            return await client.post(service.url_of(request.path), body=request.body, **more)
        except Exception as error:
            if isinstance(error.__cause__, HttpError):  # some versions of the SDK wrap what its HTTP client's hooks raise
                raise error.__cause__ from None
            refuse_failed_proxy(error, service.base_url)
            raise

    async def close(self) -> None:
        """Close every connection; never raises. A second call does nothing."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()


def not_installed() -> ConfigError:
    """The error where the extra is not installed."""
    return ConfigError(f"{MISSING} They are in discordplex[{EXTRA}].", full=f"{MISSING} Run: {pip_extra(EXTRA)}")


async def cancel_at(scope: anyio.CancelScope, clock: Clock, deadline: float) -> None:
    """Cancel the scope at `deadline`."""
    await clock.sleep_until(deadline)
    scope.cancel()


async def with_one_retry(attempt: Callable[[], Awaitable[Response]], service: Service, clock: Clock) -> Response:
    """What `attempt` returns; repeated once where `faults` allows that."""
    try:
        return await attempt()
    except Exception as error:
        wait_s = may_repeat_after_s(error)
        if wait_s is None:
            raise
        log.info("request retried", service=service.name, wait_s=round(wait_s, 3), cause=type(error).__name__)
    await clock.sleep_until(clock.now() + wait_s)
    return await attempt()
