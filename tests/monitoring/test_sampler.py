"""What is read once a second."""

import asyncio

from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from discordplex.monitoring.sampler import STORE_S, Sampler
from discordplex.overview import Overview, StoreState
from discordplex.tasks import cancel_and_wait


class NewBot:
    """A bot that does nothing yet."""

    def overview(self, *, names: bool = False) -> Overview:
        del names
        return Overview()


async def test_histograms_are_read_once_a_second(clock: FakeClock) -> None:
    """Also one that is made later; the loop's lag is measured as well."""
    sampler = Sampler(Metrics(), clock)
    running = asyncio.create_task(sampler.run())
    await clock.advance(0.5)
    sampler.metrics.histogram("uplink.wait_ms").record(7)
    assert sampler.distributions == {}
    await clock.advance(0.6)
    assert sampler.distributions["uplink.wait_ms"].count == 1
    await clock.advance(9)
    assert sampler.loop_lag.count == 10
    await cancel_and_wait(running)


async def test_the_database_is_asked_every_few_seconds(clock: FakeClock) -> None:
    """What it says last is in /readyz."""
    sampler, answers = Sampler(Metrics(), clock), ["ok", "away", "ok"]

    async def state() -> StoreState:
        return "ok" if answers.pop(0) == "ok" else "away"

    running = asyncio.create_task(sampler.watch_store())
    await clock.advance(3)
    assert sampler.readiness.parts["store"] == {"state": "opening"}
    sampler.observe(NewBot(), state)
    seen = []
    for _ in range(3):
        await clock.advance(STORE_S)
        seen.append(sampler.readiness.parts["store"]["state"])
    assert seen == ["ok", "away", "ok"]
    await cancel_and_wait(running)
