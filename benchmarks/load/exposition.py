"""What a bot says at its `/metrics` between two moments: counts, and histograms as distributions. Pure, but for `fetch`."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

PREFIX = "discordplex_"


@dataclass(frozen=True, slots=True)
class Exposition:
    """One answer of `/metrics`."""

    values: dict[str, float]
    """Counters and gauges by their name without the prefix, labels summed up."""
    buckets: dict[str, dict[float, float]]
    """Histograms: how many values were at most each bound."""

    @classmethod
    def parse(cls, text: str) -> "Exposition":
        """Read the text format."""
        values: dict[str, float] = {}
        buckets: dict[str, dict[float, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removeprefix(PREFIX)
                if "le" in sample.labels:
                    counts = buckets.setdefault(name.removesuffix("_bucket"), {})
                    bound = float(sample.labels["le"])
                    counts[bound] = counts.get(bound, 0.0) + sample.value
                else:
                    values[name] = values.get(name, 0.0) + sample.value
        return cls(values, buckets)

    def count_since(self, before: "Exposition", name: str) -> float:
        """By how much a counter grew."""
        return self.values.get(name, 0.0) - before.values.get(name, 0.0)

    def spread_since(self, before: "Exposition", name: str) -> "Buckets":
        """What a histogram got."""
        now, then = self.buckets.get(name, {}), before.buckets.get(name, {})
        return Buckets(sorted(now), [now[bound] - then.get(bound, 0.0) for bound in sorted(now)])


@dataclass(frozen=True, slots=True)
class Buckets:
    """How many values were at most each bound; the last bound is infinite."""

    bounds: Sequence[float]
    cumulative: Sequence[float]

    @property
    def count(self) -> float:
        """How many values there were."""
        return self.cumulative[-1] if self.cumulative else 0.0

    def percentile(self, percent: float) -> float:
        """Interpolated within its bucket; above the last finite bound, that bound; NaN without values."""
        wanted = self.count * percent / 100
        if not wanted:
            return float("nan")
        for (lower, below), (upper, reached) in pairwise([(0.0, 0.0), *zip(self.bounds, self.cumulative, strict=True)]):
            if reached >= wanted:
                return lower if upper == float("inf") else lower + (upper - lower) * (wanted - below) / (reached - below)
        return float("nan")


async def fetch(port: int) -> Exposition:
    """Ask a bot of this machine."""
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        answer.raise_for_status()
        return Exposition.parse(await answer.text())
