"""A whole house for a test of the cascade: the loopback Discord, and the real bot with its stages at some server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from discordplex.app import engine_provider
from discordplex.bot.application import BotApplication
from discordplex.clock import SystemClock
from discordplex.config import BotConfig, CascadeConfig, Config, DiscordConfig, EngineConfig
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.metrics import Metrics
from discordplex.store.store import open_store
from discordplex.voice.rtp.threads import Wire
from tests.end_to_end.home import House


@asynccontextmanager
async def cascade_house(
    base_url: str, api_key: str, monkeypatch: pytest.MonkeyPatch, *, captions_of_people: bool = True
) -> AsyncIterator[House]:
    """The loopback Discord and the bot, whose engine is served at `base_url`."""
    async with LoopbackDiscord() as discord, open_store("sqlite://") as store:
        monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
        user = discord.bots[0]
        config = Config(
            discord=DiscordConfig(token=SecretStr(user.token), api_url=f"{discord.api_url}/v10"),
            bot=BotConfig(prefix="!", captions_of_people=captions_of_people),
            engine=EngineConfig(kind="cascade"),
            cascade=CascadeConfig(base_url=base_url, api_key=SecretStr(api_key)),
        )
        clock, metrics = SystemClock(), Metrics()
        with Wire(clock=clock, metrics=metrics) as wire:
            provider = engine_provider(config, clock)
            application = BotApplication(config=config, provider=provider, store=store, wire=wire, clock=clock, metrics=metrics)
            task = asyncio.create_task(application.run(), name="application")
            try:
                yield House(discord, application, metrics, user, task)
            finally:
                application.stop()
                await task
