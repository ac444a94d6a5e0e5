"""Real py-cord as a client of the loopback: nothing patched, its own URLs, a connector that leads them to this machine."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import discord
from aiohttp.abc import AbstractResolver, ResolveResult

from discordplex.loopback.discord.certificate import client_context
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import User

INTENTS = discord.Intents(guilds=True, voice_states=True)


class EverythingIsHere(AbstractResolver):
    """Resolves every name to the loopback's port."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        del port, family
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


def bot_for(loopback: LoopbackDiscord, **options: Any) -> discord.Bot:
    """A py-cord bot that will find the loopback where it looks for Discord."""
    connector = aiohttp.TCPConnector(resolver=EverythingIsHere(loopback.port), ssl=client_context(loopback.ca_file))
    made: discord.Bot = discord.Bot(  # type: ignore[no-untyped-call]  # py-cord's constructor has no annotations
        **{"connector": connector, "intents": INTENTS, "guild_ready_timeout": 0.02} | options
    )
    return made


@asynccontextmanager
async def logged_in(
    loopback: LoopbackDiscord, user: User, set_up: Callable[[discord.Bot], None] = lambda _: None, **options: Any
) -> AsyncIterator[discord.Bot]:
    """A bot between its `on_ready` and a close that leaves nothing behind."""
    bot = bot_for(loopback, **options)
    set_up(bot)
    running = asyncio.create_task(bot.start(user.token))
    ready = asyncio.create_task(bot.wait_for("ready", timeout=10))
    try:
        await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        await ready
        yield bot
    finally:
        ready.cancel()
        running.cancel()
        # py-cord's close() shuts its HTTP session first, and the gateway with it; so the gateway goes before.
        if bot.ws is not None:
            await bot.ws.close(code=1000)
        await bot.close()
        await asyncio.gather(running, ready, return_exceptions=True)
