"""Whatever wait an answer of Discord's tells: requests go on, and one that is given up blocks no other."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from typing import Any, cast

import discord
import pytest

from discordplex.bot import rate_limits
from discordplex.bot.client import GatewayClient
from discordplex.bot.rate_limits import LONGEST_WAIT_S, bounded_body, bounded_wait_s
from discordplex.bot.shards import WHOLE, LoginTurns
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.rest.server import RestFaults
from discordplex.loopback.discord.server import LoopbackDiscord

ME = discord.http.Route("GET", "/users/@me")


@pytest.mark.parametrize(
    ("told", "wait_s"),
    [
        *((0.3, 0.3), ("2.5", 2.5), (0, 0), (60, 60), (61, 60), (1e300, 60), ("9" * 400, 1), (10**400, 1)),
        *((-1, 1), (math.nan, 1), (math.inf, 1), (None, 1), ("soon", 1), ("", 1), (True, 1), ([], 1), ({}, 1)),
    ],
)
def test_waits_are_bounded(told: Any, wait_s: float) -> None:
    """In headers, which are text, and in bodies."""
    assert bounded_wait_s(told) == wait_s <= LONGEST_WAIT_S


@pytest.mark.parametrize("text", ["[]", "null", "no JSON", "[" * 100_000, '{"global": true}'])
def test_a_body_of_another_shape_has_a_wait(text: str) -> None:
    """So py-cord finds one."""
    assert json.loads(bounded_body(text))["retry_after"] == 1.0


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[LoopbackDiscord, GatewayClient]]:
    """A client that has logged in, and has no gateway."""
    monkeypatch.setattr(rate_limits, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(rate_limits, "WAIT_WITHOUT_NUMBER_S", 0.01)
    async with LoopbackDiscord() as world:
        monkeypatch.setenv("SSL_CERT_FILE", str(world.ca_file))
        monkeypatch.setattr(discord.http.Route, "API_BASE_URL", world.api_url)
        monkeypatch.setattr(ME, "url", f"{world.api_url}/users/@me")
        async with GatewayClient(cast("Any", None), clock=FakeClock(), shard=WHOLE, turns=LoginTurns()) as made:
            await made.login(world.bots[0].token)
            yield world, made


@pytest.mark.timeout(10)
@pytest.mark.parametrize("retry_after", [1e9, "soon", None, -5])
async def test_a_global_limit_passes(client: tuple[LoopbackDiscord, GatewayClient], retry_after: Any) -> None:
    """One that would last for years, or that is no time at all."""
    world, bot = client
    world.rest.faults = RestFaults(status=429, times=1, told={"retry_after": retry_after, "global": True})
    assert (await bot.http.request(ME))["id"] == world.bots[0].id
    assert bot.http._global_over.is_set()


@pytest.mark.timeout(10)
async def test_a_request_that_is_given_up_blocks_no_other(
    client: tuple[LoopbackDiscord, GatewayClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was cancelled while it waited for the global limit."""
    world, bot = client
    monkeypatch.setattr(rate_limits, "LONGEST_WAIT_S", 60.0)
    world.rest.faults = RestFaults(status=429, times=1, told={"retry_after": 50, "global": True})
    begun, clear = asyncio.Event(), bot.http._global_over.clear

    def begin() -> None:
        clear()
        begun.set()

    monkeypatch.setattr(bot.http._global_over, "clear", begin)
    waiting = asyncio.create_task(bot.http.request(ME))
    await begun.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert (await bot.http.request(ME))["id"] == world.bots[0].id
