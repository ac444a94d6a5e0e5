"""Sampler: reads the bot once a second: its histograms become buckets. It also knows how to ask for the bot's state."""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from discordplex.clock import Clock
from discordplex.metrics import Metrics
from discordplex.monitoring.catalog import LOOP_LAG, MILLISECONDS, histogram_of
from discordplex.monitoring.distribution import Distribution
from discordplex.monitoring.problems import Problems
from discordplex.monitoring.readiness import Readiness, readiness
from discordplex.overview import Overview, StoreState

READ_S = 1.0
"""A histogram keeps 8,192 values, so of up to 160 calls no value is missed."""

STORE_S = 5.0
"""How often the database is asked whether it answers."""


class ObservedBot(Protocol):
    """What is observed: a `bot.application.BotApplication`."""

    def overview(self, *, names: bool = False) -> Overview:
        """The bot at this moment; with `names`, of servers, channels and people."""
        ...


class Sampler:
    """What is known of the process, for every page. Thread: loop."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self.metrics = metrics
        self.clock = clock
        self.problems = Problems()
        self.loop_lag = Distribution(LOOP_LAG.bounds)
        self.distributions: dict[str, Distribution] = {}
        """The histograms of the process, by dotted name."""
        self.store: StoreState | None = None
        self.cpu = 0.0
        """Of one core, in the last second."""
        self.began = clock.now()
        self.port = 0
        """Where its pages are served."""
        self._bot: ObservedBot | None = None
        self._store_state: Callable[[], Awaitable[StoreState]] | None = None

    def observe(self, bot: ObservedBot, store_state: Callable[[], Awaitable[StoreState]]) -> None:
        """From now on this bot and its database are observed."""
        self._bot, self._store_state = bot, store_state

    def overview(self, *, names: bool = False) -> Overview | None:
        """The bot at this moment; None until there is one."""
        return self._bot.overview(names=names) if self._bot else None

    @property
    def readiness(self) -> Readiness:
        """The answer of `/readyz` at this moment."""
        return readiness(self.overview(), self.store)

    def read(self) -> None:
        """Put the newest values of all histograms into their buckets."""
        for name, histogram in self.metrics.histograms().items():
            if name not in self.distributions:
                self.distributions[name] = Distribution(histogram_of(name).bounds, scale=MILLISECONDS)
            self.distributions[name].read(histogram)

    async def run(self) -> None:
        """Read once a second until cancelled."""
        deadline, spent_s = self.clock.now(), time.process_time()
        while True:
            deadline += READ_S
            await self.clock.sleep_until(deadline)
            before_s, spent_s = spent_s, time.process_time()
            self.cpu = (spent_s - before_s) / READ_S
            lag_s = self.clock.now() - deadline
            self.loop_lag.add([lag_s])
            self.read()
            for distribution in (self.loop_lag, *self.distributions.values()):
                distribution.next_second()
            deadline += max(0.0, lag_s // READ_S * READ_S)

    async def watch_store(self) -> None:
        """Ask the database every few seconds, until cancelled."""
        while True:
            if self._store_state:
                self.store = await self._store_state()
            await self.clock.sleep_until(self.clock.now() + (STORE_S if self.store else READ_S))
