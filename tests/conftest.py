"""What every test needs."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import discord.http
import pytest
import trustme
from hypothesis import HealthCheck, settings

from discordplex.loopback import timeouts
from discordplex.loopback.clock import FakeClock

LIVE = (
    "end_to_end/",
    "demo/test_scenario",
    "doctor/test_report",
    "doctor/test_round_trip",
    "bridge/test_session_with_standin",
    "cascade/test_session",
    "voice/test_bit_exact",
    "voice/test_connection",
    "voice/test_crowds",
    "voice/test_dirt",
    "voice/test_epochs",
    "voice/test_repairs",
    "voice/test_watchdog",
    "loopback/discord/voice/dave/",
    "loopback/discord/person/test_person",
    "loopback/discord/voice/test_relay",
    "monitoring/test_page",
)
"""Where people talk in real time. These are marked `live`; `python -m tests` traces none of them, since tracing makes a call stutter."""

settings.register_profile("discordplex", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("discordplex")  # no test asserts how fast a machine is


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Each half of the suite imports its own files only: that saves seconds in each worker."""
    half = config.option.markexpr
    if half not in ("live", "not live"):
        return None
    if collection_path.is_dir():
        return collection_path.name == "interop" or None
    return is_live(collection_path) != (half == "live") or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what talks in real time."""
    for item in items:
        if is_live(item.path):
            item.add_marker(pytest.mark.live)


def is_live(path: Path) -> bool:
    """Whether people talk in real time in this file."""
    return path.relative_to(Path(__file__).parent).as_posix().startswith(LIVE)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register what needs more than a line of pyproject.toml. The time factor holds for whole tests too."""
    config.addinivalue_line("markers", "live: talks in real time; `python -m tests` plays it again once before it calls it broken")
    if config.option.timeout is None:
        config.option.timeout = float(config.getini("timeout")) * timeouts.FACTOR
    if sys.version_info < (3, 11):
        # Its asyncio never marks a TLS transport closed that its peer has reset, and warns about it whatever one does.
        config.addinivalue_line("filterwarnings", "ignore:unclosed transport <asyncio.sslproto:ResourceWarning")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests were played again, and which."""
    again = sorted({report.nodeid for report in terminalreporter.stats.get("rerun", [])})
    if again or terminalreporter.config.option.markexpr == "live":
        terminalreporter.write_line(f"played again: {len(again)}")
        for name in again:
            terminalreporter.write_line(f"  {name}")


@pytest.fixture(autouse=True)
def discord_address() -> Iterator[None]:
    """py-cord keeps the address of Discord for the whole process; a bot of one test must not send the next one's there."""
    before = discord.http.Route.API_BASE_URL
    yield
    discord.http.Route.API_BASE_URL = before


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until the test moves it."""
    return FakeClock()


@pytest.fixture
async def closed_port() -> int:
    """A port at which nobody listens."""
    listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port: int = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    return port


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that nobody trusts by itself."""
    return trustme.CA()
