"""Whether the bot can hold a call."""

from dataclasses import replace

import pytest

from discordplex.metrics import Metrics
from discordplex.monitoring.readiness import readiness
from discordplex.overview import CallOverview, ClusterOverview, DiscordState, EngineServer, Overview, ProcessOverview, VoiceOverview

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


CALL = CallOverview(1, "listening", "PersonaPlex", 1.0, (), VoiceOverview(), Metrics())
SHARED = ClusterOverview(
    connected=True,
    age_s=0.5,
    processes=(ProcessOverview("a:1", "1", (0, 2), own=True), ProcessOverview("b:1", "1", (1,)), ProcessOverview("c:1", "1", lapsed=True)),
    shards=4,
    free_shards=(3,),
)
AWAY = replace(SHARED, connected=False)


@pytest.mark.parametrize(
    ("overview", "ready"),
    [
        (Overview("connected", cluster=SHARED), True),
        (Overview("standby", cluster=SHARED), True),
        (Overview("standby", cluster=AWAY), False),
        (Overview("logging in", cluster=SHARED), False),
        (Overview("reconnecting", cluster=SHARED), False),
        (Overview("connected", cluster=AWAY), False),
        (Overview("connected", cluster=AWAY, calls=(CALL,)), True),
        (Overview("reconnecting", cluster=AWAY, calls=(CALL,)), False),
        (Overview("connected", cluster=SHARED, draining=True), False),
        (Overview("connected", cluster=SHARED, draining=True, calls=(CALL,)), True),
        (Overview("connected", draining=True), False),
        (Overview("stopping", cluster=SHARED, calls=(CALL,)), False),
    ],
)
def test_a_process_of_a_cluster(overview: Overview, *, ready: bool) -> None:
    """Without the cluster's database, and while it drains, a process begins no call; one that stands by could take over at any moment."""
    assert readiness(replace(overview, engines=(FREE,)), "ok").ready == ready
    assert not readiness(replace(overview, engines=(FAILED,)), "ok").ready


def test_the_cluster_is_named() -> None:
    """How many live, and which shards are whose."""
    found = readiness(Overview("connected", engines=(FREE,), cluster=SHARED), "ok").parts
    assert found["cluster"] == {"state": "connected", "processes": 2, "own_shards": 2, "free_shards": 1}
    assert "drain" not in found
    parts = readiness(Overview("connected", engines=(FREE,), cluster=AWAY, draining=True), "ok").parts
    assert (parts["cluster"]["state"], parts["drain"]) == ("away", {"state": "draining"})
    assert "cluster" not in readiness(Overview("connected", engines=(FREE,)), "ok").parts


def test_before_there_is_a_bot() -> None:
    """While the database is being opened, nothing can hold a call."""
    found = readiness(None, None)
    assert not found.ready
    assert {part["state"] for part in found.parts.values()} == {"starting", "opening"}
