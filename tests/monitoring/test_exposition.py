"""What /metrics says."""

import re
import shutil
import subprocess
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="the extra `monitoring` is not installed")

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from discordplex.loopback.clock import FakeClock
from discordplex.metrics import CallMetrics, Metrics
from discordplex.monitoring.catalog import COUNTERS, HISTOGRAMS
from discordplex.monitoring.exposition import BotCollector, exposed, registry_of
from discordplex.monitoring.sampler import Sampler
from discordplex.overview import CallOverview, ClusterOverview, EngineServer, Overview, ProcessOverview, StoreState, VoiceOverview

SECRETS = ("Anna", "Lounge", "gpu.example", "123456789012345678")


class ScriptedBot:
    """A bot whose state a test sets; it gives every name, whether asked for or not."""

    def __init__(self, metrics: Metrics) -> None:
        self.process = metrics
        self.calls: list[CallOverview] = []
        self.cluster: ClusterOverview | None = None

    def enter(self, number: int, phase: str = "listening") -> CallMetrics:
        metrics = CallMetrics(self.process)
        people = (VoiceOverview(speaking=True, level_dbfs=-20, name="Anna"), VoiceOverview())
        self.calls.append(CallOverview(number, phase, "PersonaPlex", 5.0, people, VoiceOverview(), metrics, "Lounge"))
        return metrics

    def overview(self, *, names: bool = False) -> Overview:
        del names
        engines = (EngineServer("PersonaPlex", 1, 1, address="ws://gpu.example:8998"), EngineServer("PersonaPlex", 1, 0, 3, 4.0))
        return Overview("connected", 2, tuple(self.calls), ("Lounge",), engines, cluster=self.cluster)


async def memory_only() -> StoreState:
    return "memory only"


@pytest.fixture
def sampler(clock: FakeClock) -> Sampler:
    return Sampler(Metrics(), clock)


def observed(sampler: Sampler) -> ScriptedBot:
    bot = ScriptedBot(sampler.metrics)
    sampler.observe(bot, memory_only)
    return bot


def scrape(sampler: Sampler) -> dict[str, float]:
    """Every sample by its name and labels, as the official parser reads them."""
    text, content_type = exposed(registry_of(BotCollector(sampler)), "")
    assert content_type.startswith("text/plain")
    return {
        one.name + ("{" + ",".join(f"{key}={value}" for key, value in sorted(one.labels.items())) + "}" if one.labels else ""): one.value
        for family in parse(text.decode())
        for one in family.samples
    }


def test_the_official_parsers_read_it(sampler: Sampler) -> None:
    """In both formats, each family with a type and a help text."""
    call = observed(sampler).enter(1)
    call.counter("voice.rx.late").add()
    call.histogram("uplink.wait_ms").record(7)
    registry = registry_of(BotCollector(sampler))
    text, _ = exposed(registry, "text/plain")
    families = list(parse(text.decode()))
    assert all(family.documentation and family.type != "unknown" for family in families)
    newer, content_type = exposed(registry, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(newer.decode())} >= {"discordplex_uplink_wait_seconds", "discordplex_problems"}
    assert all(family.name.startswith("discordplex_") for family in families)


CLUSTER = ClusterOverview(
    connected=True,
    age_s=0.25,
    processes=(
        ProcessOverview("gpu.example:1", "1.0", (0, 2), own=True),
        ProcessOverview("b", "1.0", (1,)),
        ProcessOverview("c", "1", lapsed=True),
    ),
    shards=4,
    free_shards=(3,),
    waiting=3,
)


def test_the_cluster_is_counted_where_there_is_one(sampler: Sampler) -> None:
    """Who lives, whose the shards are, and who waits; without names of machines."""
    bot = observed(sampler)
    assert not [name for name in scrape(sampler) if "cluster" in name]
    bot.cluster = CLUSTER
    found = {name.removeprefix("discordplex_cluster_"): value for name, value in scrape(sampler).items() if "cluster" in name}
    assert found == {
        "connected": 1,
        "age_seconds": 0.25,
        "processes": 2,
        "queue_length": 3,
        "shards{holder=own}": 2,
        "shards{holder=other}": 1,
        "shards{holder=nobody}": 1,
    }


def test_promtool_finds_nothing(sampler: Sampler) -> None:
    """Prometheus' own naming rules, where promtool is at hand."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    bot = observed(sampler)
    bot.cluster = CLUSTER
    bot.enter(1)
    for name in COUNTERS:
        sampler.metrics.counter(name + "late" if name.endswith(".") else name).add()
    for name in HISTOGRAMS:
        sampler.metrics.histogram(name).record(5)
    sampler.problems.note({"event": "engine lost", "level": "warning"}, 0.0)
    text, _ = exposed(registry_of(BotCollector(sampler)), "")
    found = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)  # noqa: S603 -- a linter
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_calls_are_summed_and_nothing_falls_when_one_ends(sampler: Sampler) -> None:
    """Counters and buckets grow over calls that come and go; the gauges are those of the calls that run."""
    bot = observed(sampler)
    one, two = bot.enter(1), bot.enter(2, "waiting for the engine")
    for call, lag_ms in ((one, 40), (two, 900)):
        call.counter("uplink.ticks").add(10)
        call.counter("downlink.samples").add(24_000)
        call.histogram("uplink.wait_ms").record(12)
        call.gauge("engine.lag_ms").set(lag_ms)
    before = scrape(sampler)
    assert before["discordplex_uplink_frames_total"] == 20
    assert before["discordplex_downlink_audio_seconds_total"] == 1.0
    assert before["discordplex_uplink_wait_seconds_bucket{le=0.015}"] == 2
    assert before["discordplex_uplink_wait_seconds_bucket{le=0.01}"] == 0
    assert before["discordplex_uplink_wait_seconds_sum"] == pytest.approx(0.024)
    assert before["discordplex_engine_lag_seconds"] == pytest.approx(0.9)
    assert (before["discordplex_calls{phase=listening}"], before["discordplex_calls{phase=waiting for the engine}"]) == (1, 1)
    assert before["discordplex_people"] == 4
    assert before["discordplex_speaking_people"] == 2
    bot.calls.clear()
    after = scrape(sampler)
    falling = {name for name in before if name.endswith(("_total", "_count", "_sum")) or "_bucket" in name if after[name] < before[name]}
    assert falling == set()
    assert after["discordplex_engine_lag_seconds"] == 0
    assert after["discordplex_calls{phase=listening}"] == 0


def test_reasons_are_labels(sampler: Sampler) -> None:
    """What is counted for a reason is one family."""
    sampler.metrics.counter("voice.rx.late").add(2)
    sampler.metrics.counter("voice.rx.duplicates").add(3)
    sampler.metrics.counter("voice.deaf.rekey").add()
    found = scrape(sampler)
    assert found["discordplex_voice_rx_not_sound_total{reason=late}"] == 2
    assert found["discordplex_voice_rx_not_sound_total{reason=duplicates}"] == 3
    assert found["discordplex_voice_deaf_total{remedy=rekey}"] == 1


def test_before_the_bot_there_are_metrics_too(sampler: Sampler) -> None:
    """Nothing is connected, and the process is there."""
    found = scrape(sampler)
    assert (found["discordplex_ready"], found["discordplex_discord_connected"]) == (0, 0)
    assert found["discordplex_build_info" + next(name for name in found if "build_info" in name)[len("discordplex_build_info") :]] == 1


def test_engines_and_queue(sampler: Sampler) -> None:
    """One of two servers has failed, one channel waits."""
    observed(sampler)
    found = scrape(sampler)
    wanted = {"engine_capacity": 2, "engine_busy": 1, "engine_failed": 1, "queue_length": 1, "ready": 1, "guilds": 2}
    assert {name: found[f"discordplex_{name}"] for name in wanted} == wanted


def test_no_person_server_or_address_is_in_it(sampler: Sampler) -> None:
    """Whatever is running, and whatever the log says."""
    bot = observed(sampler)
    bot.cluster = CLUSTER
    bot.enter(1)
    line: dict[str, Any] = {"event": "voice lost", "level": "warning", "guild": 123456789012345678, "cause": "4015", "who": "Anna"}
    sampler.problems.note(line, 0.0)
    text = exposed(registry_of(BotCollector(sampler)), "")[0].decode()
    assert 'discordplex_problems_total{code="voice lost"} 1.0' in text
    assert not [secret for secret in SECRETS if secret in text]
    labels = {name for found in re.findall(r"\{([^}]*)\}", text) for name in re.findall(r'(\w+)="', found)}
    assert labels <= {"le", "phase", "code", "reason", "remedy", "holder", "version", "python_version"}
