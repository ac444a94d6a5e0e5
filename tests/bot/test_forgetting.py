"""A server that threw the bot out while it was offline: the whole bot on the loopback Discord."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import discord
import discord.http
import pytest

from discordplex.loopback import timeouts
from discordplex.store.store import open_store
from tests.home import Home

GONE = 999
"""A guild that nobody has."""


async def fill(home: Home, database: Path) -> int:
    """Something about two guilds in the store; the one in which the bot still is."""
    home.store_url = f"sqlite:///{database}"
    mine = int(home.guild.id)
    async with open_store(home.store_url) as store:
        for guild_id in (mine, GONE):
            await store.guilds.change(guild_id, lambda now: replace(now, choice=replace(now.choice, text_prompt="a secret role")))
    return mine


async def test_guilds_that_are_gone_are_found_at_the_start(home: Home, tmp_path: Path) -> None:
    """What is stored about them is deleted; about those in which the bot still is, it stays."""
    mine = await fill(home, tmp_path / "settings.db")
    async with home.bot_running():
        await home.commands_there()
        assert home.store
        with anyio.fail_after(10 * timeouts.FACTOR):
            while await home.store.privacy.guilds() != {mine}:  # noqa: ASYNC110 - it happens behind Discord's answer
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("status", [500, 403, 404])
async def test_an_answer_that_proves_nothing_deletes_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """An outage, or a proxy that answers instead of Discord."""
    mine = await fill(home, tmp_path / "settings.db")
    asked: list[int] = []
    kinds = {500: discord.DiscordServerError, 403: discord.Forbidden, 404: discord.NotFound}

    class Response:
        def __init__(self) -> None:
            self.status, self.reason = status, "no"

    async def get_guild(_self: Any, guild_id: int, **_more: Any) -> Any:
        asked.append(int(guild_id))
        raise kinds[status](Response(), "no")

    monkeypatch.setattr(discord.http.HTTPClient, "get_guild", get_guild)
    async with home.bot_running():
        await home.commands_there()
        with anyio.fail_after(10 * timeouts.FACTOR):
            while not asked:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
        assert asked == [GONE]
    async with open_store(home.store_url) as store:
        assert await store.privacy.guilds() == {mine, GONE}
