"""What the tests of monitoring share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from discordplex.bot.application import BotApplication
from discordplex.clock import SystemClock
from discordplex.config import MonitoringConfig
from discordplex.monitoring.sampler import Sampler
from tests.bot.conftest import home
from tests.home import Home

__all__ = ["home"]


class Observed:
    """A bot at home and the address where it is seen."""

    def __init__(self, home: Home, application: BotApplication, sampler: Sampler, url: str) -> None:
        self.home, self.application, self.sampler, self.url = home, application, sampler, url

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of a page."""
        async with aiohttp.ClientSession(headers=headers) as session, session.get(self.url + path) as answer:
            return answer.status, await answer.text()

    async def ready(self) -> tuple[int, dict[str, str]]:
        """Status of /readyz, and the state of each part."""
        async with aiohttp.ClientSession() as session, session.get(self.url + "/readyz") as answer:
            found: dict[str, Any] = await answer.json()
        assert found["ready"] == (answer.status == 200)
        return answer.status, {part: state["state"] for part, state in found["parts"].items()}

    async def metric(self, name: str) -> float:
        """A sample of /metrics."""
        _, text = await self.get("/metrics")
        return float(next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"discordplex_{name} ")))

    async def becomes(self, ready: bool, timeout_s: float = 10.0, **parts: str) -> None:  # noqa: FBT001 -- the first word of the sentence
        """Wait until /readyz says this."""

        async def wait() -> None:
            while True:
                status, found = await self.ready()
                if (status == 200) == ready and parts.items() <= found.items():
                    return
                await asyncio.sleep(0.05)

        await asyncio.wait_for(wait(), timeout_s)


@asynccontextmanager
async def observed(home: Home, *, password: str | None = None, show_names: bool = False, **settings: Any) -> AsyncIterator[Observed]:
    """The bot at home, with its monitoring on any port."""
    pytest.importorskip("prometheus_client", reason="the extra `monitoring` is not installed")
    from discordplex.monitoring.service import monitoring  # noqa: PLC0415 -- needs the extra

    secret = SecretStr(password) if password else None
    config = MonitoringConfig(listen="127.0.0.1:0", password=secret, show_names=show_names)
    async with monitoring(config, metrics=home.metrics, clock=SystemClock()) as sampler, home.bot_running(home.config(**settings)) as bot:
        assert home.store
        sampler.observe(bot, home.store.state)
        yield Observed(home, bot, sampler, f"http://127.0.0.1:{sampler.port}")
