"""What the status page is told."""

import json
from dataclasses import replace
from typing import Any

import pytest

from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from discordplex.monitoring.sampler import Sampler
from discordplex.monitoring.status import (
    MOST_CALLS,
    MOST_PEOPLE,
    MOST_PROBLEMS,
    MOST_PROCESSES,
    STAGES,
    cluster_fact,
    engine_state,
    processes,
    status,
    voice_state,
)
from discordplex.overview import CallOverview, ClusterOverview, EngineServer, Overview, ProcessOverview, StoreState, VoiceOverview


class ManyCalls:
    """A bot with more than anybody can read."""

    def overview(self, *, names: bool = False) -> Overview:
        people = tuple(VoiceOverview(name=f"Anna {number}" if names else "") for number in range(40))
        calls = [CallOverview(number, "listening", "PersonaPlex", 1.0, people, VoiceOverview(), Metrics()) for number in range(500)]
        return Overview("connected", 1, tuple(calls), ("",) * 900, (EngineServer("PersonaPlex", 500, 500),))


async def in_memory() -> StoreState:
    return "memory only"


def test_before_the_bot_there_is_a_page(clock: FakeClock) -> None:
    """It says what it waits for."""
    state = status(Sampler(Metrics(), clock), names=False)
    assert (state["ready"], state["why"]) == (False, "The bot is starting.")
    assert state["calls"] == state["engines"] == state["queue"] == state["stages"] == state["problems"] == []


def test_long_lists_are_cut_and_counts_are_whole(clock: FakeClock) -> None:
    """However much there is, a state stays small."""
    sampler = Sampler(Metrics(), clock)
    sampler.observe(ManyCalls(), in_memory)
    for number in range(1000):
        sampler.problems.note({"event": f"problem {number}", "level": "warning"}, 0.0)
    state = status(sampler, names=True)
    assert (state["running"], len(state["calls"]), state["waiting"]) == (500, MOST_CALLS, 900)
    assert (len(state["calls"][0]["people"]), state["calls"][0]["more_people"]) == (MOST_PEOPLE, 40 - MOST_PEOPLE)
    assert len(state["problems"]) == MOST_PROBLEMS
    assert len(json.dumps(state)) < 100_000


def test_names_are_shown_only_if_asked_for(clock: FakeClock) -> None:
    """Without them, people and engines have numbers."""
    sampler = Sampler(Metrics(), clock)
    sampler.observe(ManyCalls(), in_memory)
    assert "Anna" not in json.dumps(status(sampler, names=False))
    assert "Anna" in json.dumps(status(sampler, names=True))
    server = EngineServer("PersonaPlex", 1, 0, address="ws://gpu:8998")
    assert engine_state(server, 2, names=False)["name"] == "PersonaPlex 2"
    assert engine_state(server, 2, names=True)["name"] == "PersonaPlex, ws://gpu:8998"


@pytest.mark.parametrize(
    ("server", "state", "detail"),
    [
        (EngineServer("P", 1, 0), "free", ""),
        (EngineServer("P", 1, 1), "in use", ""),
        (EngineServer("P", 4, 3), "free", "3 of 4 in use"),
        (EngineServer("P", 1, 1, failures=1, retry_in_s=2.2), "failed", "failed once; tried again in 2 s"),
        (EngineServer("P", 1, 0, failures=3), "untested", "failed 3 times in a row; the next call tries it again"),
    ],
)
def test_an_engine_in_words(server: EngineServer, state: str, detail: str) -> None:
    """What it does, and what was wrong with it."""
    found = engine_state(server, 1, names=False)
    assert (found["state"], found["detail"]) == (state, detail)


@pytest.mark.parametrize(("dbfs", "level"), [(-100, 0), (-60, 0), (-30, 50), (0, 100), (6, 100)])
def test_a_level_is_a_percentage(dbfs: float, level: int) -> None:
    """From barely to be heard to as loud as can be."""
    assert voice_state(VoiceOverview(level_dbfs=dbfs), "Person 1") == {"name": "Person 1", "speaking": False, "level": level}


def test_stages_are_those_of_the_last_minute(clock: FakeClock) -> None:
    """In the order in which sound passes them, and only those with values."""
    sampler = Sampler(Metrics(), clock)
    for name in reversed(STAGES):
        sampler.metrics.histogram(name).record(8.0)
    sampler.metrics.histogram("downlink.gap_ms").record(8.0)
    sampler.read()
    assert [stage["name"] for stage in status(sampler, names=False)["stages"]] == list(STAGES.values())
    assert 7.5 <= status(sampler, names=False)["stages"][0]["p95_ms"] <= 10


OWN = ProcessOverview("db1:7", "1.0", (0, 1), calls=1, own=True)
CLUSTER = ClusterOverview(
    connected=True,
    age_s=0.4,
    processes=(
        OWN,
        ProcessOverview("db2:8", "1.0", (2,), calls=2, draining=True),
        ProcessOverview("db3:9", "1.1"),
        ProcessOverview("db4:9", "1.0", (3,), lapsed=True),
    ),
    shards=5,
    free_shards=(3, 4),
    waiting=2,
)


def test_processes_in_words() -> None:
    """What each has and does; machines have names only if they are asked for."""
    found = [(one["name"], one["state"], one["detail"]) for one in processes(CLUSTER, names=False)]
    assert found == [
        ("This process", "at work", "shards 0, 1 · 1 call · 1.0"),
        ("Process 2", "takes nothing", "shard 2 · 2 calls · 1.0"),
        ("Process 3", "stands by", "0 calls · 1.1"),
        ("Process 4", "gone", "shard 3 · 0 calls · 1.0"),
    ]
    assert [one["name"] for one in processes(CLUSTER, names=True)][:2] == ["This process, db1:7", "db2:8"]
    many = ClusterOverview(connected=True, age_s=0, processes=(ProcessOverview("a", "1", tuple(range(500))),) * 500)
    shown = list(processes(many, names=True))
    assert len(shown) == MOST_PROCESSES
    assert shown[0]["detail"] == "shards 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 488 more · 0 calls · 1"


@pytest.mark.parametrize(
    ("cluster", "detail", "tone"),
    [
        (CLUSTER, "2 of 5 shards without one", "warn"),
        (replace(CLUSTER, free_shards=()), "2 waiting in all", ""),
        (replace(CLUSTER, free_shards=(), waiting=0), "", ""),
        (replace(CLUSTER, connected=False, age_s=12.4), "as of 12 s ago", "bad"),
        (ClusterOverview(connected=False, age_s=1e6), "not known yet", "bad"),
    ],
)
def test_the_cluster_in_one_figure(cluster: ClusterOverview, detail: str, tone: str) -> None:
    """How many live, and the worst that is wrong."""
    found = cluster_fact(cluster)
    assert (found["name"], found["detail"], found["tone"]) == ("Processes", detail, tone)


class OneOfSeveral:
    """A bot with a cluster, in a state that a test sets."""

    def __init__(self, overview: Overview) -> None:
        self.state = overview

    def overview(self, *, names: bool = False) -> Overview:
        del names
        return self.state


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"draining": True}, "This process ends when its calls have ended. It begins no other."),
        (
            {"cluster": replace(CLUSTER, connected=False)},
            "The database of the cluster does not answer: no call begins. The bot tries again by itself.",
        ),
        ({"engines": ()}, "No engine works."),
    ],
)
def test_why_a_process_is_not_ready(clock: FakeClock, change: dict[str, Any], why: str) -> None:
    """One sentence on the page."""
    sampler = Sampler(Metrics(), clock)
    good = Overview("standby", engines=(EngineServer("P", 1, 0),), cluster=CLUSTER)
    sampler.observe(OneOfSeveral(replace(good, **change)), in_memory)
    state = status(sampler, names=False)
    assert (state["why"], state["ready"]) == (why, not why)
    assert len(state["processes"]) == 4
