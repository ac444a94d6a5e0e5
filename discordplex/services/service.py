"""Service: which server transcribes, thinks or speaks, with which model. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from discordplex.config import CascadeConfig, ServiceConfig
from discordplex.tracing import MODEL, OPERATION, OUTPUT_TYPE, PROVIDER, TraceSpan

ServiceName: TypeAlias = Literal["transcribe", "think", "speak"]

OPERATIONS: Final[Mapping[ServiceName, str]] = {"transcribe": "speech_to_text", "think": "chat", "speak": "text_to_speech"}
"""What OpenTelemetry's conventions call them."""

NO_KEY = "unused"
"""Sent where no key is set: local servers need none, but the SDK requires one."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Service:
    """Which model at which server, what else to send, and which settings say so."""

    name: ServiceName
    base_url: str
    model: str
    timeout_s: float = 20.0
    total_timeout_s: float = 60.0
    api_key: str = field(default=NO_KEY, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict)
    url_setting: str = "cascade.base_url"
    key_setting: str = "cascade.api_key"

    @classmethod
    def of(cls, config: CascadeConfig, name: ServiceName) -> "Service":
        """The service of that name; settings that it lacks are taken from the cascade's.

        The cascade's key is never sent to another origin.
        """
        own: ServiceConfig = getattr(config, name)
        at_home = own.base_url is None or origin_of(own.base_url) == origin_of(config.base_url)
        secret = own.api_key or (config.api_key if at_home else None)
        return cls(
            name=name,
            base_url=own.base_url or config.base_url,
            model=own.model,
            timeout_s=own.timeout_s,
            total_timeout_s=own.total_timeout_s,
            api_key=secret.get_secret_value() if secret else NO_KEY,
            extra=own.extra,
            url_setting=f"cascade.{name}.base_url" if own.base_url else "cascade.base_url",
            key_setting=f"cascade.{name}.api_key" if own.api_key or not at_home else "cascade.api_key",
        )

    def span_below(self, above: TraceSpan) -> TraceSpan:
        """Begin the span of one request."""
        operation = OPERATIONS[self.name]
        speech = {OUTPUT_TYPE: "speech"} if self.name == "speak" else {}
        return above.child(f"{operation} {self.model}", {OPERATION: operation, PROVIDER: "openai", MODEL: self.model, **speech})

    @property
    def host(self) -> str:
        """The server's name and port, without parts of its address that may be secret."""
        parts = urlsplit(self.base_url)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or "the server"
        return f"{host}:{parts.port}" if parts.port else host

    def url_of(self, path: str) -> str:
        """The URL of a request: the base URL's path and `path`, followed by the base URL's query."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}{path}", parts.query, ""))

    def setting(self, key: str) -> str:
        """The full name of one of the service's settings."""
        return f"cascade.{self.name}.{key}"

    @property
    def model_setting(self) -> str:
        """The setting that names the model."""
        return self.setting("model")


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (the scheme's default port where none is named): a key is only sent to the same origin."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
