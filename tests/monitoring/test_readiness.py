"""Whether the bot can hold a call."""

from dataclasses import replace

import pytest

from discordplex.monitoring.readiness import readiness
from discordplex.overview import DiscordState, EngineServer, Overview

FREE = EngineServer("PersonaPlex", capacity=1, busy=0)
BUSY = replace(FREE, busy=1)
FAILED = replace(FREE, failures=2, retry_in_s=4.0)
LOST = replace(BUSY, failures=1, retry_in_s=2.0)
CLOUD = EngineServer("OpenAI Realtime", capacity=4, busy=3)


@pytest.mark.parametrize(
    ("engines", "state", "ready"),
    [
        ((FREE,), "free", True),
        ((BUSY,), "busy", True),
        ((BUSY, FREE), "free", True),
        ((FAILED,), "failed", False),
        ((LOST,), "failed", False),
        ((FAILED, LOST), "failed", False),
        ((FAILED, BUSY), "busy", True),
        ((FAILED, CLOUD), "free", True),
        ((replace(CLOUD, busy=4),), "busy", True),
        ((replace(CLOUD, capacity=0, busy=0),), "failed", False),
        ((), "failed", False),
    ],
)
def test_an_engine_must_work(engines: tuple[EngineServer, ...], state: str, *, ready: bool) -> None:
    """One that could take a call, or holds one; a server that failed does neither, even while a call waits for it."""
    found = readiness(Overview("connected", engines=engines), "ok")
    assert (found.parts["engines"]["state"], found.ready) == (state, ready)


@pytest.mark.parametrize("discord", ["logging in", "reconnecting", "unreachable", "stopping"])
def test_the_bot_must_be_logged_in(discord: DiscordState) -> None:
    """The answer says what it is instead."""
    found = readiness(Overview(discord, engines=(FREE,)), "ok")
    assert not found.ready
    assert found.parts["discord"]["state"] == discord


def test_calls_work_without_the_database() -> None:
    """It is named, and does not count."""
    found = readiness(Overview("connected", engines=(FREE,)), "away")
    assert found.ready
    assert found.parts["store"] == {"state": "away"}


def test_before_there_is_a_bot() -> None:
    """While the database is being opened, nothing can hold a call."""
    found = readiness(None, None)
    assert not found.ready
    assert {part["state"] for part in found.parts.values()} == {"starting", "opening"}
