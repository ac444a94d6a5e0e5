"""What the status page is told."""

import json

import pytest

from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from discordplex.monitoring.sampler import Sampler
from discordplex.monitoring.status import MOST_CALLS, MOST_PEOPLE, MOST_PROBLEMS, STAGES, engine_state, status, voice_state
from discordplex.overview import CallOverview, EngineServer, Overview, StoreState, VoiceOverview


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
