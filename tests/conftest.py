"""What every test needs."""

import sys
from collections.abc import Iterator

import discord.http
import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Python 3.10's asyncio never marks a TLS transport closed that its peer has reset, and warns about it whatever one does."""
    if sys.version_info < (3, 11):
        config.addinivalue_line("filterwarnings", "ignore:unclosed transport <asyncio.sslproto:ResourceWarning")


@pytest.fixture(autouse=True)
def discord_address() -> Iterator[None]:
    """py-cord keeps the address of Discord for the whole process; a bot of one test must not send the next one's there."""
    before = discord.http.Route.API_BASE_URL
    yield
    discord.http.Route.API_BASE_URL = before
