"""Exposition: what `/metrics` says, in Prometheus' text format or OpenMetrics, by the Accept header.

Counters are those of the process, into which every call counts, so they never go down when a call ends.
"""

import platform
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric

from discordplex import __version__
from discordplex.monitoring.catalog import (
    GAUGES,
    LOOP_LAG,
    OF_THE_CLUSTER,
    OF_THE_PROCESS,
    PREFIX,
    HistogramFamily,
    counter_of,
    histogram_of,
)
from discordplex.monitoring.distribution import Distribution
from discordplex.monitoring.sampler import Sampler
from discordplex.overview import CallOverview, ClusterOverview, Overview


class BotCollector:
    """Makes the metrics of a bot from what its sampler knows, at each scrape."""

    def __init__(self, sampler: Sampler) -> None:
        self.viewers = 0
        """Browsers that have the status page open."""
        self._sampler = sampler

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are checked by a test and not at each start."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family once."""
        self._sampler.read()
        overview = self._sampler.overview() or Overview()
        yield InfoMetricFamily(
            f"{PREFIX}build", OF_THE_PROCESS["info"], {"version": __version__, "python_version": platform.python_version()}
        )
        yield from self._states(overview)
        if overview.cluster:
            yield from cluster_states(overview.cluster)
        yield from gauges(overview.calls)
        yield from counters(self._sampler.metrics.counters())
        yield histogram(LOOP_LAG, self._sampler.loop_lag)
        for name, distribution in self._sampler.distributions.items():
            yield histogram(histogram_of(name), distribution)

    def _states(self, overview: Overview) -> Iterator[Metric]:
        people = [voice for call in overview.calls for voice in call.people]
        found = {
            "ready": self._sampler.readiness.ready,
            "discord_connected": overview.discord == "connected",
            "store_available": self._sampler.store in ("ok", "memory only"),
            "guilds": overview.guilds,
            "people": len(people),
            "speaking_people": sum(voice.speaking for voice in people),
            "queue_length": len(overview.waiting),
            "engine_capacity": sum(server.capacity for server in overview.engines),
            "engine_busy": sum(server.busy for server in overview.engines),
            "engine_failed": sum(server.capacity for server in overview.engines if server.failures),
            "status_viewers": self.viewers,
        }
        for name, value in found.items():
            yield GaugeMetricFamily(PREFIX + name, OF_THE_PROCESS[name], value)
        calls = GaugeMetricFamily(f"{PREFIX}calls", OF_THE_PROCESS["calls"], labels=["phase"])
        phases = [call.phase for call in overview.calls]
        for phase in sorted({*phases, "listening"}):
            calls.add_metric([phase], phases.count(phase))
        yield calls
        problems = CounterMetricFamily(f"{PREFIX}problems", OF_THE_PROCESS["problems"], labels=["code"])
        for code, count in sorted(self._sampler.problems.totals.items()):
            problems.add_metric([code], count)
        yield problems


def cluster_states(cluster: ClusterOverview) -> Iterator[Metric]:
    """What all processes of the bot have together."""
    alive = [process for process in cluster.processes if not process.lapsed]
    own = sum(len(process.shards) for process in alive if process.own)
    found = {
        "cluster_connected": cluster.connected,
        "cluster_age_seconds": cluster.age_s,
        "cluster_processes": len(alive),
        "cluster_queue_length": cluster.waiting,
    }
    for name, value in found.items():
        yield GaugeMetricFamily(PREFIX + name, OF_THE_CLUSTER[name], value)
    shards = GaugeMetricFamily(f"{PREFIX}cluster_shards", OF_THE_CLUSTER["cluster_shards"], labels=["holder"])
    nobody = len(cluster.free_shards)
    for holder, count in {"own": own, "other": cluster.shards - own - nobody, "nobody": nobody}.items():
        shards.add_metric([holder], count)
    yield shards


def gauges(calls: Iterable[CallOverview]) -> Iterator[Metric]:
    """The largest value of the running calls."""
    values = [call.metrics.gauges() for call in calls]
    for name, family in GAUGES.items():
        largest = max((found[name] for found in values if name in found), default=0.0)
        yield GaugeMetricFamily(PREFIX + family.name, family.help, largest * family.scale)


def counters(values: dict[str, int]) -> Iterator[Metric]:
    """Every counter; those that differ only in a label are one family."""
    families: dict[str, CounterMetricFamily] = {}
    for dotted, value in sorted(values.items()):
        family, label = counter_of(dotted)
        if family.name not in families:
            families[family.name] = CounterMetricFamily(PREFIX + family.name, family.help, labels=[family.label] if family.label else [])
        families[family.name].add_metric([label] if family.label else [], value * family.scale)
    yield from families.values()


def histogram(family: HistogramFamily, distribution: Distribution) -> Metric:
    """A histogram with its fixed buckets."""
    bounds = [*map(str, distribution.bounds), "+Inf"]
    buckets = list(zip(bounds, distribution.cumulative, strict=True))
    return HistogramMetricFamily(PREFIX + family.name, family.help, buckets=buckets, sum_value=distribution.sum)


def registry_of(collector: BotCollector) -> CollectorRegistry:
    """A registry with the bot's metrics and the process's CPU, memory and open files."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(namespace=PREFIX.rstrip("_"), registry=registry)
    return registry


def exposed(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The text and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
