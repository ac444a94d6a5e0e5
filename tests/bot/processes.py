"""Several processes of one bot, here in one: each with its own connections to Discord and to the shared database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

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
async def one_process(
    home: Home, url: str, sampler: Sampler | None = None, *, shards: int | None = None, **settings: Any
) -> AsyncIterator[BotApplication]:
    """One more process of the bot, until it is told to stop. With `sampler`, it is observed; `shards` is `discord.shards`."""
    clock, metrics = SystemClock(), sampler.metrics if sampler else Metrics()
    config = home.config(**settings)
    discord = config.discord.model_copy(update={"shards": shards})
    config = config.model_copy(update={"cluster": ClusterConfig(url=url), "discord": discord})
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


async def soon(what: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait until something of a process is so that nobody else is told of."""

    async def wait() -> None:
        while not what():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.05)

    await timeouts.wait_for(wait(), timeout_s)
