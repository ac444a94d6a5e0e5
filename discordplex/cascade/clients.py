"""The official SDK, met in one place: imported when a call begins, one client for each server, and what every request has in common."""

import importlib.util
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import structlog

from discordplex.cascade.detector import MISSING
from discordplex.cascade.faults import may_repeat_after_s
from discordplex.cascade.stage import Stage
from discordplex.clock import Clock
from discordplex.errors import ConfigError
from discordplex.network import httpx_proxy, tls_context

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = structlog.get_logger()

CONNECT_S = 5.0
"""A host that has not answered by then is dead; a silent one costs people no more patience than that."""

KEEP_S = 120.0
"""How long an unused connection is kept. The library's 5 s are over between two turns, and a new one costs two or three round trips with
TLS, in each of three stages."""

Upload: TypeAlias = tuple[str, bytes, str]
"""A file's name, its bytes and their kind."""

Answer = TypeVar("Answer")


def is_installed() -> bool:
    """Whether the SDK can be imported; imports nothing."""
    return importlib.util.find_spec("openai") is not None


class Clients:
    """One client for each server and key. Close it on the loop that used it."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        """Not on the event loop: the SDK takes 0.7 s to import and each client 30 ms to make.

        Raises ConfigError where it is not installed, or where a variable about proxies or certificates cannot be obeyed.
        """
        try:
            import openai  # noqa: PLC0415 -- 940 modules and 33 MB that only this engine pays for
        except ImportError:
            raise ConfigError(MISSING) from None
        self._openai = openai
        self._clients: dict[tuple[str, str], AsyncOpenAI] = {}
        for stage in stages:
            place = (stage.base_url, stage.api_key)
            if place not in self._clients:
                self._clients[place] = self._client(stage)

    def _client(self, stage: Stage) -> "AsyncOpenAI":
        limits = type(self._openai.DEFAULT_CONNECTION_LIMITS)(keepalive_expiry=KEEP_S)
        http_client = self._openai.DefaultAsyncHttpxClient(
            limits=limits,
            base_url=stage.base_url,
            trust_env=False,  # one policy for all our clients: network.py
            proxy=httpx_proxy(stage.base_url),
            verify=tls_context(verify=urlsplit(stage.base_url).scheme == "https"),
        )
        client = self._openai.AsyncOpenAI(
            base_url=stage.base_url,
            api_key=stage.api_key,
            http_client=http_client,
            max_retries=0,  # its own would wait for up to a minute, and repeat what a dead server never answers
        )
        _ = client.audio.speech.with_streaming_response  # imported when it is first named, in 60 ms that nobody shall hear
        return client

    def of(self, stage: Stage) -> "AsyncOpenAI":
        """The client of the stage's server."""
        return self._clients[stage.base_url, stage.api_key]

    def options(self, stage: Stage) -> dict[str, Any]:
        """What every request of a stage is given, to the SDK's own methods."""
        return {"timeout": self._timeout(stage), "extra_body": dict(stage.extra) or None}

    def _timeout(self, stage: Stage) -> Any:
        return self._openai.Timeout(stage.timeout_s, connect=min(CONNECT_S, stage.timeout_s))

    async def post(self, stage: Stage, path: str, body: Mapping[str, Any], *, file: Upload | None = None, stream: bool = False) -> Any:
        """The answer's JSON as it is; with `stream` an AsyncStream of its events' JSON.

        The SDK's own methods check every message on its way out and make models of every token on its way in: for a turn with a short
        history 2 of 10 ms of processor time, for a long one more.
        """
        options: dict[str, Any] = {"timeout": self._timeout(stage), "extra_json": dict(stage.extra)}
        more: dict[str, Any] = {"options": options}
        if file is not None:
            options["headers"] = {"Content-Type": "multipart/form-data"}
            more["files"] = [("file", file)]
        if stream:
            more["stream_cls"] = self._openai.AsyncStream[object]
        return await self.of(stage).post(path, cast_to=object, body=body, stream=stream, **more)

    async def close(self) -> None:
        """Hang up everywhere; never raises. A second time does nothing."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()


async def once_more(attempt: Callable[[], Awaitable[Answer]], stage: Stage, clock: Clock) -> Answer:
    """What `attempt` gives; where it may be repeated (see `faults`), it is, one single time."""
    try:
        return await attempt()
    except Exception as error:
        wait_s = may_repeat_after_s(error)
        if wait_s is None:
            raise
        log.info("request repeated", stage=stage.name, host=stage.host, wait_s=round(wait_s, 3), cause=type(error).__name__)
    await clock.sleep_until(clock.now() + wait_s)
    return await attempt()
