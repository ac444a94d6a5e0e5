"""Several processes of one bot, here in one: each with its own connections to Discord and to the shared database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from discordplex.app import clustered, engine_provider
from discordplex.bot.application import BotApplication
from discordplex.clock import SystemClock
from discordplex.config import ClusterConfig
from discordplex.loopback import timeouts
from discordplex.metrics import Metrics
from discordplex.monitoring.sampler import Sampler
from discordplex.store.store import open_store
from discordplex.voice.rtp.threads import SendThread
from tests.home import STOP_WITHIN_S, Home


@asynccontextmanager
async def one_process(home: Home, url: str, sampler: Sampler | None = None) -> AsyncIterator[BotApplication]:
    """One more process of the bot, until it is told to stop. With `sampler`, it is observed."""
    clock, metrics = SystemClock(), sampler.metrics if sampler else Metrics()
    config = home.config().model_copy(update={"cluster": ClusterConfig(url=url)})
    async with open_store(url) as store, clustered(config, clock, metrics) as member:
        assert member
        with SendThread(clock=clock, metrics=metrics) as send_thread:
            provider = engine_provider(config, clock, member.slots)
            application = BotApplication(
                config=config, provider=provider, store=store, send_thread=send_thread, clock=clock, metrics=metrics, cluster=member
            )
            if sampler:
                sampler.observe(application, store.state)
            running = asyncio.create_task(application.run(), name="bot")
            try:
                yield application
            finally:
                application.stop()
                await timeouts.wait_for(running, STOP_WITHIN_S)
