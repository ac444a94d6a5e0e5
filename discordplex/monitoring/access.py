"""Access: where to listen, and who may read. Pure.

A browser must not become a way in: any page on the internet can make it send requests to 127.0.0.1, and a host name can be made to resolve
to that address after the page was loaded (DNS rebinding). So without a password only the machine's own names are accepted as `Host`. A
request of another origin's page is refused in any case.
"""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from discordplex.config import MonitoringConfig
from discordplex.errors import ConfigError

OPEN_PATHS = ("/healthz", "/readyz")
"""These need no password: they name states only, and probes of containers have none."""

OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """Why a request gets no answer."""

    status: HTTPStatus
    sentence: str


@dataclass(frozen=True, slots=True)
class Access:
    """Where monitoring listens, and the rule by which it answers."""

    host: str
    port: int
    password: bytes | None

    @classmethod
    def of(cls, config: MonitoringConfig) -> "Access":
        """The rule of these settings. Raises ConfigError if other machines could read without a password."""
        host, _, port = config.listen.rpartition(":")
        host = host.strip("[]")
        password = config.password.get_secret_value().encode() if config.password else None
        if password is None and not is_loopback(host):
            raise ConfigError(
                f"monitoring.listen is {config.listen}, which other machines can reach, and monitoring.password is not set: set it, "
                "or listen on 127.0.0.1."
            )
        return cls(host, int(port), password)

    @property
    def shown(self) -> str:
        """Host and port as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def refusal(self, path: str, headers: Mapping[str, str]) -> RefusedRequest | None:
        """Why a request with these headers (of any case) is refused; None if it may be answered."""
        host = headers.get("Host", "")
        if self.password is None and name_in(host) not in OWN_NAMES | {self.host}:
            return RefusedRequest(HTTPStatus.FORBIDDEN, f"Open http://{self.shown}/ instead: without a password, other names are refused.")
        if from_elsewhere(host, headers):
            return RefusedRequest(HTTPStatus.FORBIDDEN, "Pages of other origins are refused.")
        if self.password is None or path in OPEN_PATHS or hmac.compare_digest(password_in(headers.get("Authorization", "")), self.password):
            return None
        return RefusedRequest(HTTPStatus.UNAUTHORIZED, "The password is monitoring.password; any user name will do.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def name_in(host: str) -> str:
    """The name or address in a `Host` header, without the port; empty if it is neither."""
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
    except ValueError:
        return ""
    return name if parts.netloc == host and "@" not in host else ""


def from_elsewhere(host: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another origin's page makes this request. To follow a link to us is allowed."""
    origin = headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return True
    return headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and headers.get("Sec-Fetch-Mode") != "navigate"


def password_in(authorization: str) -> bytes:
    """The password of an `Authorization` header; empty if there is none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
