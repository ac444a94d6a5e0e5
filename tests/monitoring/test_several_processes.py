"""Two processes of one bot as an operator sees them, beside what is true; and what they say while their database is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from discordplex.bot.application import BotApplication
from discordplex.clock import SystemClock
from discordplex.config import MonitoringConfig
from discordplex.loopback import timeouts
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.metrics import Metrics
from tests.bot.conftest import WRITES, opened
from tests.bot.processes import one_process
from tests.home import Home
from tests.monitoring.browser import chromium, tab
from tests.monitoring.conftest import Observed
from tests.monitoring.test_page import AGREES_WITHIN_S, shows
from tests.store.conftest import MakeUrl, start, stop
from tests.store.conftest import cluster as postgresql
from tests.store.conftest import make_postgresql_url as make_postgresql_url  # noqa: PLC0414 - a fixture

pytest.importorskip("prometheus_client", reason="the extra `monitoring` is not installed")

cluster = postgresql

ROWS = "[...document.querySelectorAll('#processes li')].map(one => one.innerText)"


@pytest.fixture
async def home(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    """One engine; two shards, which may log in at the same time."""
    async with opened(LoopbackDiscord(writes=WRITES, shards=2, max_concurrency=2), monkeypatch) as home:
        yield home


@asynccontextmanager
async def seen_process(home: Home, url: str) -> AsyncIterator[Observed]:
    """A process with its pages."""
    from discordplex.monitoring.service import monitoring  # noqa: PLC0415 -- needs the extra

    async with AsyncExitStack() as stack:
        config = MonitoringConfig(listen="127.0.0.1:0")
        sampler = await stack.enter_async_context(monitoring(config, metrics=Metrics(), clock=SystemClock()))
        bot: BotApplication = await stack.enter_async_context(one_process(home, url, sampler))
        yield Observed(home, bot, sampler, f"http://127.0.0.1:{sampler.port}")


async def shards_are(seen: Observed, **counts: int) -> None:
    """Wait until /metrics says who has how many shards."""

    async def found() -> dict[str, float]:
        return {one: await seen.metric(f'cluster_shards{{holder="{one}"}}') for one in counts}

    async def wait() -> None:
        while await found() != counts:  # noqa: ASYNC110 - another task's page is looked at
            await asyncio.sleep(0.05)

    await timeouts.wait_for(wait(), 20.0)


async def test_a_process_says_what_it_could_do(home: Home, cluster: Path, make_postgresql_url: MakeUrl) -> None:
    """Alone, standing by, sharing, without the database, with it again, draining: /readyz says each time what the process could do."""
    url, other = make_postgresql_url(), home.discord.guilds[1].voice_channels[0]
    async with seen_process(home, url) as first:
        await first.becomes(True, discord="connected", cluster="connected")
        home.discord.enter(home.ada, home.lounge)
        home.discord.enter(home.ben, other)
        await home.says(home.lounge, "listening")
        async with seen_process(home, url) as second:
            await second.becomes(True, discord="standby", cluster="connected", calls="none")  # each shard has people
            home.discord.leave(home.ben)
            await shards_are(second, own=1, other=1, nobody=0)
            await second.becomes(True, discord="connected")
            await asyncio.to_thread(stop, cluster)
            try:
                await second.becomes(False, discord="connected", cluster="away", calls="none")
                await first.becomes(True, discord="connected", cluster="away", calls="running")
            finally:
                await asyncio.to_thread(start, cluster)
            await second.becomes(True, discord="connected", cluster="connected")
            await first.becomes(True, cluster="connected")
            assert await first.metric("cluster_failed_beats_total") > 0
            draining = asyncio.create_task(second.application.drain(5.0))
            await second.becomes(False, drain="draining")
            await draining
        await shards_are(first, own=2, other=0, nobody=0)
        home.discord.leave(home.ada)
        await home.discord.wait_for(lambda: home.where is None)


@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt-get install chromium)")
async def test_the_page_shows_all_processes(home: Home, make_postgresql_url: MakeUrl) -> None:
    """Who has which shards and calls, as /metrics and Discord have it, within two seconds; without names of machines."""
    url = make_postgresql_url()
    async with seen_process(home, url) as first, seen_process(home, url) as second, tab() as page:
        await shards_are(first, own=1, other=1, nobody=0)
        await second.becomes(True, discord="connected")
        assert sorted(home.discord.gateway.sessions.logins) == [(0, 2), (1, 2)]
        await page.open(second.url + "/")
        await page.until(f"document.querySelector('#ready').innerText === 'Ready' && {shows('Processes', '2')}", 20)
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        await page.until(f"{ROWS}.filter(one => one.includes('1 call ')).length === 1", AGREES_WITHIN_S)
        rows = await page.evaluate(ROWS)
        assert [row.split("\n")[0] for row in rows] == ["This process", "Process 2"]
        assert sorted(row.split("\n")[2].split(" · ")[0] for row in rows) == ["shard 0", "shard 1"]
        assert await first.metric("cluster_processes") == await second.metric("cluster_processes") == 2
        calls = [await seen.metric('calls{phase="listening"}') for seen in (second, first)]
        assert [int("1 call " in row) for row in rows] == calls
        assert page.errors == []
        home.discord.leave(home.ada)
        await page.until(f"{ROWS}.every(one => one.includes('0 calls'))", 20)
