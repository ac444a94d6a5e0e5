"""`monitoring`: listens on `monitoring.listen` from before the bot begins until after it has ended."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web

from discordplex import logs
from discordplex.clock import Clock
from discordplex.config import MonitoringConfig
from discordplex.errors import ConfigError
from discordplex.installing import pip_extra
from discordplex.metrics import Metrics
from discordplex.monitoring.access import Access
from discordplex.monitoring.http import HEADERS, Page, plain, serving
from discordplex.monitoring.live import LiveFeed
from discordplex.monitoring.page import status_page
from discordplex.monitoring.problems import is_problem
from discordplex.monitoring.sampler import Sampler
from discordplex.monitoring.status import status
from discordplex.tasks import beside

log = structlog.get_logger()

EXTRA_MISSING = f"monitoring.listen is set, and the package prometheus_client is missing. Run: {pip_extra('monitoring')}"


@contextlib.asynccontextmanager
async def monitoring(config: MonitoringConfig, *, metrics: Metrics, clock: Clock) -> AsyncIterator[Sampler]:
    """Listen inside the block; give the bot to what this gives (`observe`) when there is one.

    Raises ConfigError if the settings do not allow it or a package is missing, and DiscordplexError if the address is not available.
    """
    access, sampler = Access.of(config), Sampler(metrics, clock)
    feed = LiveFeed(lambda: json.dumps(status(sampler, names=config.show_names), separators=(",", ":")).encode(), clock)
    pages = Pages(sampler, feed)
    async with serving(access, pages.by_path) as port:
        sampler.port = port
        loop = asyncio.get_running_loop()

        def note(line: Mapping[str, object]) -> None:
            if is_problem(line):
                loop.call_soon_threadsafe(sampler.problems.note, dict(line), clock.now())

        log.info("monitoring listens", host=access.host, port=port)
        with logs.observed(note):
            parts = {"sampler": sampler.run(), "store": sampler.watch_store(), "page": feed.run()}
            async with beside(*(guarded(name, part) for name, part in parts.items())):
                yield sampler


async def guarded(name: str, part: Coroutine[Any, Any, None]) -> None:
    """Run a part of monitoring. If it fails, the log says so, and the bot goes on."""
    try:
        await part
    except Exception:
        log.exception("part of monitoring failed", part=name)


class Pages:
    """What each path answers."""

    def __init__(self, sampler: Sampler, feed: LiveFeed) -> None:
        try:
            from discordplex.monitoring import exposition  # noqa: PLC0415 -- needs a package that only this extra brings
        except ModuleNotFoundError:
            raise ConfigError(EXTRA_MISSING) from None
        self._sampler = sampler
        self._feed = feed
        self._exposition = exposition
        self._collector = exposition.BotCollector(sampler)
        self._registry = exposition.registry_of(self._collector)

    @property
    def by_path(self) -> dict[str, Page]:
        """Every page by its path."""
        return {
            "/": self.page,
            "/events": self._feed.serve,
            "/metrics": self.metrics,
            "/healthz": self.health,
            "/readyz": self.ready,
        }

    async def page(self, _request: web.BaseRequest) -> web.StreamResponse:
        """The status page."""
        document, policy = status_page()
        headers = {**HEADERS, "Content-Security-Policy": policy, "Content-Type": "text/html; charset=utf-8"}
        return web.Response(body=document, headers=headers)

    async def metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        """Everything that is counted."""
        self._collector.viewers = self._feed.viewers
        body, content_type = self._exposition.exposed(self._registry, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={**HEADERS, "Content-Type": content_type})

    async def health(self, _request: web.BaseRequest) -> web.StreamResponse:
        """That there is an answer says that the process lives and its loop runs."""
        return plain("ok")

    async def ready(self, _request: web.BaseRequest) -> web.StreamResponse:
        """Whether the bot can hold a call, and the state of each part."""
        found = self._sampler.readiness
        status = HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE
        text = json.dumps({"ready": found.ready, "parts": found.parts}, indent=1) + "\n"
        return web.Response(text=text, status=status, headers=HEADERS, content_type="application/json")
