"""What every test needs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import discord.http
import pytest

LIVE = (
    "end_to_end/",
    "demo/test_scenario",
    "doctor/test_report",
    "doctor/test_round_trip",
    "bridge/test_session_with",
    "cascade/test_session",
    "voice/test_bit_exact",
    "voice/test_client",
    "voice/test_crowds",
    "voice/test_dirt",
    "voice/test_epochs",
    "voice/test_repairs",
    "voice/test_watchdog",
    "loopback/discord/dave/",
    "loopback/discord/test_person",
    "loopback/discord/test_relay",
)
"""Where people talk in real time. These are marked `live`: `make test` measures no coverage in them, since tracing makes a call stutter."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what talks in real time."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).as_posix().startswith(LIVE):
            item.add_marker(pytest.mark.live)


def pytest_configure(config: pytest.Config) -> None:
    """Python 3.10's asyncio never marks a TLS transport closed that its peer has reset, and warns about it whatever one does."""
    config.addinivalue_line("markers", "live: talks in real time")
    if sys.version_info < (3, 11):
        config.addinivalue_line("filterwarnings", "ignore:unclosed transport <asyncio.sslproto:ResourceWarning")


@pytest.fixture(autouse=True)
def discord_address() -> Iterator[None]:
    """py-cord keeps the address of Discord for the whole process; a bot of one test must not send the next one's there."""
    before = discord.http.Route.API_BASE_URL
    yield
    discord.http.Route.API_BASE_URL = before
