"""How every client reaches a server: directly or through a proxy, and which certificates it trusts.

The REST API, Discord's gateway, the voice gateway and the engines all use this module, so that the same rules hold for all of them:

* A server on this machine is reached directly, whatever the variables say.
* Otherwise `HTTPS_PROXY` (for https and wss) or `HTTP_PROXY` (for http and ws) names the proxy, then `ALL_PROXY`, then `SOCKS_PROXY`. The
  lower-case name of each takes precedence over the upper-case one, and an empty one counts as not set.
* `NO_PROXY` lists servers that are reached directly all the same.

A variable that no client can use raises NetworkSettingError; a proxy that fails raises ProxyFailedError. The sentence of either names the
variable, and never a password.
"""

import asyncio
import contextlib
import errno
import fnmatch
import importlib.util
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidProxy, InvalidProxyMessage, InvalidProxyStatus, ProxyError
from yarl import URL

from discordplex.descriptors import says_no_descriptors
from discordplex.errors import ConfigError
from discordplex.installing import pip_extra
from discordplex.websocket import Guard, GuardedConnection

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

PROXY_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "https": ("HTTPS_PROXY", "ALL_PROXY", "SOCKS_PROXY"),
    "wss": ("HTTPS_PROXY", "ALL_PROXY", "SOCKS_PROXY"),
    "http": ("HTTP_PROXY", "ALL_PROXY", "SOCKS_PROXY"),
    "ws": ("HTTP_PROXY", "ALL_PROXY", "SOCKS_PROXY"),
}
"""The variables that may name the proxy of each scheme; the first that is set decides."""

TRUST_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")

DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "ws": 80, "https": 443, "wss": 443, "socks5": 1080, "socks5h": 1080}

PROXY_SCHEMES: Final[Mapping[str, str]] = {
    "http": "http",
    "https": "https",
    "socks5": "socks5h",
    "socks5h": "socks5h",
    "socks": "socks5h",
}
"""Schemes that people write, and what they mean: names are always resolved by the SOCKS proxy, since not every client can do otherwise."""

SOCKS_PACKAGES: Final = ("python_socks", "aiohttp_socks", "socksio")
"""What the three client libraries need for SOCKS; `discordplex[socks]` installs them all."""

THIS_MACHINE: Final = frozenset({"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"})

PORT_AT_END: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]{1,5})")
NUMERIC_HOST: Final = re.compile(r"[0-9a-fx.]{1,40}")
"""Such as `127.1` and `0x7f000001`, which C libraries accept as addresses."""


LOOP_FILES: Final = 6
"""More file descriptors than an event loop needs."""


def check_room_for_loop() -> None:
    """Raise OSError where the process cannot open what a new event loop needs: one that is made in half complains on stderr, and leaks."""
    with contextlib.ExitStack() as files:
        for _ in range(LOOP_FILES):
            files.enter_context(Path(os.devnull).open("rb"))


class NetworkSettingError(ConfigError):
    """An environment variable has a value that no client can use."""

    def __init__(self, message: str, *, cause: str, full: str = "") -> None:
        """`message` is a sentence that names the variable; `full` also has its value, for the operator; `cause` is a code for logs."""
        super().__init__(message, full=full)
        self.cause = cause


class ProxyFailedError(aiohttp.ClientError, ConnectionError):
    """The proxy that a variable names failed; `str()` is a sentence without a password.

    A ClientError too, since aiohttp wraps every other OSError in one of its own.
    """

    cause = "proxy"

    @property
    def full(self) -> str:
        """The same sentence. Addresses are removed before people read it (`texts.calls.told`)."""
        return str(self)


class RedirectedError(aiohttp.ClientError):
    """A server redirected a request that writes something to another server."""


def unreachable_because(fault: BaseException) -> str:
    """Why aiohttp could not reach a server, in a few words without anything secret."""
    if isinstance(fault, ProxyFailedError):
        return str(fault).rstrip(".")
    if isinstance(fault, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its TLS certificate is not trusted; SSL_CERT_FILE names the authorities to trust"
    if isinstance(fault, asyncio.TimeoutError):
        return "no answer in time"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return type(fault).__name__


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, as a variable names it."""

    variable: str
    """As it is spelled in the environment."""
    scheme: str
    """http, https or socks5h."""
    url: str = field(repr=False)
    """Normalised, with the port; user and password are in it."""
    place: str
    """The address without user and password, for people."""

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS5 rather than HTTP."""
        return self.scheme == "socks5h"

    def fault(self, what: str) -> ProxyFailedError:
        """The error to raise where this proxy `what`, such as `cannot be reached`."""
        return ProxyFailedError(
            f"The proxy at {self.place}, which {self.variable} names, {what}: correct or unset {self.variable}, "
            "or list the server in NO_PROXY."
        )


# Which way


def proxy_for(url: str, environ: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy on the way to `url`, None where it is reached directly. Raises NetworkSettingError for an invalid variable."""
    environ = os.environ if environ is None else environ
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return None  # an invalid URL is refused where it is used
    if not host or is_this_machine(host) or is_exempt(host, port, value_of("NO_PROXY", environ)[1]):
        return None
    for name in PROXY_VARIABLES.get(parts.scheme, ()):
        variable, value = value_of(name, environ)
        if value:
            return proxy_of(variable, value)
    return None


def value_of(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable's spelling that is in force and its value, "" where it is not set. An empty lower-case variable disables the other."""
    variable = name.lower() if name.lower() in environ else name
    return variable, environ.get(variable, "").strip()


def proxy_of(variable: str, value: str) -> Proxy:
    """The proxy that a variable's value names. Raises NetworkSettingError."""
    bare = "://" not in value
    assumed = "socks5h" if variable.upper() == "SOCKS_PROXY" else "http"
    try:
        parts = urlsplit(f"{assumed}://{value}" if bare else value)
        scheme = PROXY_SCHEMES.get(parts.scheme)
        host, port = parts.hostname or "", parts.port
        name = host if ":" in host else host.encode("idna").decode()
        secrets = [unquote(word, errors="strict") for word in (parts.username or "", parts.password or "")]
    except ValueError:
        raise NetworkSettingError(not_a_proxy(variable), cause="proxy malformed") from None
    if scheme is None and host and not re.search(r"\s", value):
        raise NetworkSettingError(
            f"{variable} names a proxy of an unknown kind: write http://, https:// or socks5:// in front, or unset {variable}.",
            cause="proxy unknown",
        )
    if (
        scheme is None
        or not name
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
        or port == 0
        or not all(word.isprintable() for word in [*secrets, value])
        or re.search(r"\s", value)
    ):
        raise NetworkSettingError(not_a_proxy(variable), cause="proxy malformed")
    if scheme == "socks5h" and not can_socks():
        missing = f"{variable} names a SOCKS proxy, and the packages for that are not installed."
        raise NetworkSettingError(
            f"{missing} They are in discordplex[socks]. Install them, or unset {variable}.",
            cause="socks not installed",
            full=f"{missing} Unset {variable}, or run: {pip_extra('socks')}",
        )
    address = f"{f'[{name}]' if ':' in name else name}:{port or DEFAULT_PORTS[scheme]}"
    login = f"{parts.username or ''}:{parts.password or ''}@" if parts.username or parts.password else ""
    return Proxy(variable, scheme, f"{scheme}://{login}{address}", f"{scheme.removesuffix('h')}://{address}")


def not_a_proxy(variable: str) -> str:
    """The sentence about a value that names no proxy. The value may hold a password and is not repeated."""
    return f"{variable} does not name a proxy: write it as http://host:port, or unset {variable}."


def can_socks() -> bool:
    """Whether every client library can use a SOCKS proxy."""
    return all(importlib.util.find_spec(package) is not None for package in SOCKS_PACKAGES)


def is_this_machine(host: str) -> bool:
    """Whether a URL's host is this machine, by its name alone. Nothing is resolved."""
    name = host.lower().rstrip(".")
    address = address_of(name)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return name in THIS_MACHINE or name.endswith(".localhost") or name == socket.gethostname().lower()


def address_of(host: str) -> Address | None:
    """The IP address of a host that is written as one, an IPv4 address within an IPv6 one as IPv4; None for a name."""
    text = host.strip("[]").partition("%")[0]
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:
        if not NUMERIC_HOST.fullmatch(text):
            return None
        try:
            return ipaddress.IPv4Address(socket.inet_aton(text))
        except OSError:
            return None
    return getattr(address, "ipv4_mapped", None) or address


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether `NO_PROXY` lists a server: `*`, names with or without a leading dot, addresses, networks, patterns, each perhaps with a port.

    Any other entry matches nothing.
    """
    name = host.lower().rstrip(".")
    return any(matches(entry.lower(), name, port) for entry in re.split(r"[\s,;]+", no_proxy) if entry)


def matches(entry: str, name: str, port: int) -> bool:
    """Whether one entry of `NO_PROXY` lists the server."""
    entry = entry.rpartition("://")[2].rstrip("/")
    if entry == "*":
        return True
    address = address_of(name)
    with_port = PORT_AT_END.fullmatch(entry)
    if with_port:
        entry = with_port[1]
        if int(with_port[2]) != port:
            return False
    if address is not None:
        return address in network_of(entry) or fnmatch.fnmatchcase(str(address), entry)
    if "*" in entry.removeprefix("*."):
        return fnmatch.fnmatchcase(name, entry)
    suffix = entry.removeprefix("*").strip(".")
    return bool(suffix) and (name == suffix or name.endswith(f".{suffix}"))


def network_of(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | tuple[()]:
    """The network that an entry of `NO_PROXY` names, else an empty one. Brackets are removed."""
    try:
        return ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return ()


# Which certificates are trusted


def tls_context(*, verify: bool = True) -> ssl.SSLContext:
    """The usual certificates, which `SSL_CERT_FILE`, `SSL_CERT_DIR` and `REQUESTS_CA_BUNDLE` change; with `verify=False`, no verification.

    Reads files: some 20 ms. Raises NetworkSettingError where one of the variables names nothing that can be read.
    """
    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    check_trust()
    context = ssl.create_default_context()
    if not os.environ.get("SSL_CERT_FILE"):
        # OpenSSL reads an empty variable as a file that does not exist. Compose files pass empty ones.
        paths = ssl.get_default_verify_paths()
        if "SSL_CERT_FILE" in os.environ and Path(paths.openssl_cafile).is_file():
            context.load_verify_locations(cafile=paths.openssl_cafile)
        bundle = os.environ.get("REQUESTS_CA_BUNDLE", "")
        if bundle:
            load_bundle(context, bundle)
    return context


def check_trust(environ: Mapping[str, str] | None = None) -> None:
    """Raise NetworkSettingError where a variable for certificates names nothing that can be read."""
    environ = os.environ if environ is None else environ
    for variable in TRUST_VARIABLES:
        value = environ.get(variable, "")
        if value:
            check_certificates(variable, value)


def check_certificates(variable: str, value: str) -> None:
    """Raise NetworkSettingError where there are no certificates at the path in a variable."""
    if variable == "SSL_CERT_DIR":
        if not any(Path(folder).is_dir() for folder in value.split(os.pathsep) if folder):
            raise NetworkSettingError(
                "SSL_CERT_DIR names a folder that does not exist: correct or unset SSL_CERT_DIR.",
                full=f"SSL_CERT_DIR names {value}, and there is no such folder: correct or unset SSL_CERT_DIR.",
                cause="certificates missing",
            )
        return
    if variable == "REQUESTS_CA_BUNDLE" and Path(value).is_dir():
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=value)
    except FileNotFoundError:
        why = "there is no such file"
    except ssl.SSLError:
        why = "no certificate can be read from it"
    except OSError as fault:
        if says_no_descriptors(fault):
            raise
        why = f"it cannot be read ({(fault.strerror or 'unknown').lower()})"
    except ValueError:
        why = "that is no file name"
    else:
        return
    raise NetworkSettingError(
        f"{variable} does not name certificates that can be read: correct or unset {variable}.",
        full=f"{variable} names {value}, and {why}: correct or unset {variable}.",
        cause="certificates missing",
    )


def load_bundle(context: ssl.SSLContext, bundle: str) -> None:
    """Also trust a file or a folder of certificates."""
    if Path(bundle).is_dir():
        context.load_verify_locations(capath=bundle)
    else:
        context.load_verify_locations(cafile=bundle)


# The clients


class Connector(aiohttp.TCPConnector):
    """The connector of an aiohttp session: connects to each server directly or through the proxy of `proxy_for`. Raises ProxyFailedError.

    Make it inside the running loop. It has a TLS context of its own: aiohttp's default one reads `SSL_CERT_FILE` only once, at import.
    """

    def __init__(
        self,
        *,
        verify: bool = True,
        writes_to: str = "",
        response_class: type[aiohttp.ClientResponse] | None = None,
        passes: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """With `writes_to`, a URL, requests other than GET are sent to that server alone; a redirect of one raises RedirectedError.

        With `response_class`, every answer is of that class, also where a library makes the session. Each request awaits `passes` right
        before it is sent, and fails with what that raises. Raises NetworkSettingError where the certificates named in the environment
        cannot be read.
        """
        self._writes_to = URL(writes_to).origin() if writes_to else None
        self._response_class = response_class
        self._passes = passes
        self._tls = tls_context(verify=verify)
        super().__init__(ssl=self._tls)
        self._through_socks: dict[str, aiohttp.TCPConnector] = {}

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:
        """A connection for one request, from the pool or new."""
        if self._writes_to is not None and req.method != "GET" and req.url.origin() != self._writes_to:
            raise RedirectedError
        if self._response_class is not None:
            req.response_class = self._response_class
        if self._passes is None:
            return await self._connect(req, traces, timeout)
        await self._passes()
        connection = await self._connect(req, traces, timeout)
        try:
            await self._passes()  # a new connection takes some time
        except BaseException:
            connection.close()
            raise
        return connection

    async def _connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:
        proxy = proxy_for(str(req.url))
        if proxy is None:
            return await super().connect(req, traces, timeout)
        with naming_http(proxy):
            if proxy.is_socks:
                return await self._socks(proxy).connect(req, traces, timeout)
            req.update_proxy(URL(proxy.url, encoded=True), None, None)
            return await super().connect(req, traces, timeout)

    def _socks(self, proxy: Proxy) -> aiohttp.TCPConnector:
        if proxy.url not in self._through_socks:
            from aiohttp_socks import ProxyConnector  # noqa: PLC0415 -- an extra; `proxy_for` has made sure of it

            plain = f"socks5://{proxy.url.partition('://')[2]}"
            self._through_socks[proxy.url] = ProxyConnector.from_url(plain, rdns=True, ssl=self._tls)
        return self._through_socks[proxy.url]

    async def close(self, **options: Any) -> None:
        """Close every connection."""
        while self._through_socks:
            await self._through_socks.popitem()[1].close()
        await super().close(**options)


@contextlib.contextmanager
def naming_http(proxy: Proxy) -> Iterator[None]:
    """Turn what aiohttp and its SOCKS package raise about a proxy into ProxyFailedError."""
    try:
        yield
    except aiohttp.ClientHttpProxyError as fault:
        raise proxy.fault(f"refuses to connect (HTTP status {fault.status})") from None
    except aiohttp.ClientProxyConnectionError:
        raise proxy.fault("cannot be reached") from None
    except Exception as fault:
        if type(fault).__module__.startswith(("aiohttp_socks", "python_socks")):
            raise proxy.fault("cannot be reached, or cannot reach the server") from None
        raise


class Connect(connect):
    """`connect` of `websockets` without redirects: a URL's contents (keys, prompts) go only to the server that it names."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Return the redirect as the failure, an InvalidStatus."""
        return exc


async def open_websocket(url: str, *, guard: Guard, **options: Any) -> GuardedConnection:
    """A WebSocket by `websockets`, directly or through the proxy of `proxy_for`. Pass `ssl`, a context of `tls_context`, for wss.

    Follows no redirect. `guard` limits what the server may send. Raises NetworkSettingError, ProxyFailedError, and what `connect` of
    `websockets` raises.
    """

    def make(*arguments: Any, **keywords: Any) -> GuardedConnection:
        connection = GuardedConnection(*arguments, **keywords)
        connection.guard = guard
        return connection

    options["create_connection"] = make
    proxy = proxy_for(url)
    if proxy is None:
        return cast("GuardedConnection", await Connect(url, proxy=None, **options))
    if proxy.scheme == "https":
        options["proxy_ssl"] = await asyncio.to_thread(tls_context)
    try:
        return cast("GuardedConnection", await Connect(url, proxy=proxy.url, **options))
    except InvalidProxyStatus as fault:
        raise proxy.fault(f"refuses to connect (HTTP status {fault.response.status_code})") from None
    except InvalidProxyMessage:
        raise proxy.fault("does not answer as a proxy") from None
    except (ProxyError, InvalidProxy, ConnectionRefusedError, socket.gaierror):
        # Only the proxy is dialled from here, so these errors are about it.
        raise proxy.fault("cannot be reached, or cannot reach the server") from None
    except OSError as fault:
        if fault.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT) or type(fault).__module__.startswith("python_socks"):
            raise proxy.fault("cannot be reached") from None
        raise


def httpx_proxy(url: str) -> str | None:
    """The `proxy` of an httpx client for `url`; pass it together with `trust_env=False`. Raises NetworkSettingError."""
    proxy = proxy_for(url)
    if proxy is None:
        return None
    # Older versions know socks5 only, and let the proxy resolve names.
    return f"socks5://{proxy.url.partition('://')[2]}" if proxy.is_socks else proxy.url


HTTPX_PROXY_FAILURES: Final = frozenset({"ProxyError", "ConnectError", "ConnectTimeout"})
"""What httpx and its successor raise where a proxy is dead, refuses, or cannot reach the server."""


def refuse_failed_proxy(error: BaseException, url: str) -> None:
    """Raise ProxyFailedError where `error`, raised by an httpx client, is about the proxy on the way to `url`."""
    proxy, cause = proxy_for(url), error
    for _ in range(8):
        if proxy is not None and type(cause).__name__ in HTTPX_PROXY_FAILURES:
            raise proxy.fault("cannot be reached, or cannot reach the server") from None
        below = cause.__cause__ or cause.__context__
        if below is None:
            return
        cause = below
