"""The bot's process: what it is given, what it says, and that it never outlives the demo."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from discordplex.demo.child import BotProcess, bot_environment, trust

REPORTS = """
import json, signal, sys
signal.alarm(20)
def stop(*_):
    open(sys.argv[sys.argv.index("--report") + 1], "w").write('{"cpu_s": 1.5}')
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print(json.dumps({"event": "call stats", "level": "debug", "n": 1}), file=sys.stderr, flush=True)
print(json.dumps({"event": "engine lost", "level": "warning"}), file=sys.stderr, flush=True)
print(json.dumps({"event": "up", "level": "info"}), file=sys.stderr, flush=True)
signal.pause()
"""

DIES = "import sys; print('discordplex: Discord refuses the bot token.', file=sys.stderr); sys.exit(1)"

STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.alarm(20)  # so that it goes even where nobody ends it
print("x" * 3_000_000, file=sys.stderr, flush=True)
print('{"event": "up"}', file=sys.stderr, flush=True)
while True:
    signal.pause()
"""


class Bots:
    """Makes bots of programs, and keeps what they log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[Mapping[str, Any]] = []
        self._came: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def __call__(self, program: str, patience_s: float = 5.0) -> BotProcess:
        return BotProcess(self.folder, dict(os.environ), self._take, program=("-c", program), patience_s=patience_s)

    def _take(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)
        self._came[event["event"]].set()

    async def until(self, event: str) -> None:
        """Wait until a bot has logged it."""
        await self._came[event].wait()


@pytest.fixture
def bots(tmp_path: Path) -> Bots:
    return Bots(tmp_path)


async def test_a_bot_is_heard_and_ends_with_its_report(bots: Bots) -> None:
    """Log lines come as events, warnings are kept, SIGTERM brings exit code and report."""
    async with bots(REPORTS) as bot:
        await bots.until("up")
        assert bot.last_complaint() == "The bot said: engine lost"
        assert await bot.stop() == (0, {"cpu_s": 1.5})
    assert bots.events[0]["n"] == 1


async def test_a_bot_that_dies_says_why(bots: Bots) -> None:
    """What it wrote before its end is the sentence for people."""
    async with bots(DIES) as bot:
        assert await bot.died() == "The bot said: Discord refuses the bot token."
        assert await bot.stop() == (1, {})


async def test_a_silent_death_has_its_exit_code(bots: Bots) -> None:
    """Without a word the exit code has to do."""
    async with bots("raise SystemExit(3)") as bot:
        assert await bot.died() == "The bot ended by itself (exit code 3)."


async def test_a_stubborn_bot_is_ended_by_force(bots: Bots) -> None:
    """Whoever ignores SIGTERM is killed, and a line of megabytes is no obstacle."""
    async with bots(STUBBORN, patience_s=0.1) as bot:
        await bots.until("up")
        code, report = await bot.stop()
    assert (code, report) == (-9, {})


async def test_a_failing_demo_leaves_no_bot_behind(bots: Bots) -> None:
    """Whatever is raised while the bot runs, the bot is gone afterwards."""
    bot = bots(REPORTS)

    async def fail() -> None:
        async with bot:
            await bots.until("up")
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert bot.report_file.exists()
    assert await bot.stop() == (0, {"cpu_s": 1.5})


def test_the_bot_gets_nothing_of_the_persons_own_settings(tmp_path: Path) -> None:
    """Own DISCORDPLEX_ variables and own certificates stay out, ours go in; proxies stay, for an engine elsewhere."""
    own = {
        "PATH": "/bin",
        "REQUESTS_CA_BUNDLE": "x",
        "SSL_CERT_DIR": "x",
        "DISCORDPLEX_BOT__CAPTIONS": "off",
        "NO_PROXY": "example.org",
        "PYTHONPATH": "/mine",
        "SSL_CERT_FILE": "x",
    }
    environ = bot_environment(own, {"DISCORDPLEX_DISCORD__TOKEN": "t"}, tmp_path / "ca.pem")
    assert "DISCORDPLEX_BOT__CAPTIONS" not in environ
    assert environ["DISCORDPLEX_DISCORD__TOKEN"] == "t"
    assert environ["NO_PROXY"] == "example.org"
    assert not {"REQUESTS_CA_BUNDLE", "SSL_CERT_DIR"} & set(environ)
    assert environ["PATH"] == "/bin"
    assert environ["SSL_CERT_FILE"] == str(tmp_path / "ca.pem")
    assert environ["PYTHONPATH"].endswith(f"{os.pathsep}/mine")


def test_the_loopback_is_trusted_beside_the_system(tmp_path: Path) -> None:
    """The bundle begins with the loopback's own authority."""
    (tmp_path / "ca.pem").write_bytes(b"OURS")
    assert trust(tmp_path / "ca.pem", tmp_path / "bundle.pem").read_bytes().startswith(b"OURS")
